package store_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mimid/mimid/store"
	"pgregory.net/rapid"
)

// TestModel runs random functions against a map: what a function reads and scans in
// the middle of its own writes, what is left of it when it fails, what a View sees
// before and after.
func TestModel(t *testing.T) {
	s := start(t, memory())
	names := []string{"", "\x00", "a", "a\x00", "ab", "a\xff", "a\xff\xff", "b", "\xff", "\xff\xff"}
	space := 0
	errRefused := errors.New("refused")
	rapid.Check(t, func(t *rapid.T) {
		// Each case has a part of the key space for itself; the store stays the same.
		space++
		key := func(name string) store.Key {
			return store.SpaceOverlay.Key([]byte(fmt.Sprintf("%08d/", space) + name))
		}
		prefix := func(name string) store.Prefix {
			return store.SpaceOverlay.Prefix([]byte(fmt.Sprintf("%08d/", space) + name))
		}
		durable := map[string]string{}
		for range rapid.IntRange(1, 4).Draw(t, "functions") {
			now := maps.Clone(durable)
			fail := rapid.Bool().Draw(t, "fail")
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				for range rapid.IntRange(1, 8).Draw(t, "steps") {
					name := rapid.SampledFrom(names).Draw(t, "name")
					switch rapid.IntRange(0, 3).Draw(t, "step") {
					case 0:
						now[name] = rapid.StringN(0, 3, 8).Draw(t, "value")
						if err := tx.Set(key(name), []byte(now[name])); err != nil {
							return err
						}
					case 1:
						delete(now, name)
						if err := tx.Delete(key(name)); err != nil {
							return err
						}
					case 2:
						checkGet(t, tx, key(name), now, name)
					case 3:
						checkScan(t, tx, key, prefix, now)
					}
				}
				if fail {
					return errRefused
				}
				return nil
			})
			if fail != (err == errRefused) || !fail && err != nil {
				t.Fatalf("fail %v: %v", fail, err)
			}
			if !fail {
				durable = now
			}
			err = s.View(func(tx *store.Tx) error {
				for _, name := range names {
					checkGet(t, tx, key(name), durable, name)
				}
				checkScan(t, tx, key, prefix, durable)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func checkGet(t *rapid.T, tx *store.Tx, k store.Key, model map[string]string, name string) {
	want, ok := model[name]
	got, err := tx.Get(k)
	if ok && (err != nil || string(got) != want) || !ok && !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("%q: got %q, %v; want %q, %v", name, got, err, want, ok)
	}
}

func checkScan(t *rapid.T, tx *store.Tx, key func(string) store.Key, prefix func(string) store.Prefix, model map[string]string) {
	under := rapid.SampledFrom([]string{"", "a", "a\xff", "b", "c"}).Draw(t, "prefix")
	sc := store.Scan{
		Prefix:   prefix(under),
		Reverse:  rapid.Bool().Draw(t, "reverse"),
		Limit:    rapid.IntRange(0, 4).Draw(t, "limit"),
		KeysOnly: rapid.Bool().Draw(t, "keys only"),
	}
	from, hasFrom := "", rapid.Bool().Draw(t, "has from")
	if hasFrom {
		from = rapid.SampledFrom([]string{"", "a", "a\x01", "a\xff", "b\x00", "c", "\xff"}).Draw(t, "from")
		sc.From = key(from)
	}
	var want, got []string
	for _, name := range slices.Sorted(maps.Keys(model)) {
		if strings.HasPrefix(name, under) && (!hasFrom || name == from || (name > from) != sc.Reverse) {
			v := "=" + model[name]
			if sc.KeysOnly {
				v = ""
			}
			want = append(want, key(name).String()+v)
		}
	}
	if sc.Reverse {
		slices.Reverse(want)
	}
	if sc.Limit > 0 {
		want = want[:min(len(want), sc.Limit)]
	}
	for it, err := range tx.Scan(sc) {
		if err != nil {
			t.Fatal(err)
		}
		v := "=" + string(it.Value)
		if sc.KeysOnly {
			v = string(it.Value)
		}
		got = append(got, it.Key.String()+v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%+v: %s", sc, diff)
	}
}
