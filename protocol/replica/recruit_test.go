package replica_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
)

func drawAnswer(t *rapid.T) *replica.RecruitAnswer {
	a := &replica.RecruitAnswer{Willing: rapid.Bool().Draw(t, "willing")}
	if !a.Willing {
		a.Why = rapid.StringN(0, 100, 512).Draw(t, "why")
		return a
	}
	a.Until = time.UnixMilli(rapid.Int64Range(0, 1<<48).Draw(t, "until"))
	copy(a.ProviderKey[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
	n := rapid.SampledFrom([]int{32, 65}).Draw(t, "n")
	a.FrankingKey = rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "franking key")
	return a
}

func TestRecruitRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawAnswer(t)
		b := a.Append(nil)
		got, err := replica.ParseRecruitAnswer(b)
		if err != nil || !cmp.Equal(a, got) {
			t.Fatalf("%v, %s", err, cmp.Diff(a, got))
		}
		if len(b) > replica.MaxRecruit {
			t.Fatalf("%d bytes", len(b))
		}
		if _, err := replica.ParseRecruitAnswer(append(b, 0)); !errors.Is(err, presentation.ErrTrailing) {
			t.Fatal(err)
		}
		if _, err := replica.ParseRecruitAnswer(b[:rapid.IntRange(0, len(b)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a piece of it decodes")
		}
	})
	ask := &replica.RecruitAsk{Room: room.ID{1, 2, 3}}
	b := ask.Append(nil)
	if got, err := replica.ParseRecruitAsk(b); err != nil || *got != *ask {
		t.Error(got, err)
	}
	for _, bad := range [][]byte{nil, b[:32], append(b, 0), append([]byte{2}, b[1:]...)} {
		if _, err := replica.ParseRecruitAsk(bad); err == nil {
			t.Errorf("%x decodes", bad)
		}
	}
	for why, a := range map[string]*replica.RecruitAnswer{
		"a long reason":   {Why: strings.Repeat("x", 513)},
		"no text":         {Why: "\xff"},
		"a short key":     {Willing: true, FrankingKey: make([]byte, 31)},
		"the far future":  {Willing: true, FrankingKey: make([]byte, 32), Until: time.UnixMilli(1<<48 + 1)},
		"no franking key": {Willing: true},
	} {
		if _, err := replica.ParseRecruitAnswer(a.Append(nil)); !errors.Is(err, replica.ErrMessage) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

func FuzzRecruit(f *testing.F) {
	f.Add((&replica.RecruitAsk{}).Append(nil))
	f.Add((&replica.RecruitAnswer{Why: "no"}).Append(nil))
	f.Add((&replica.RecruitAnswer{Willing: true, FrankingKey: make([]byte, 65)}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := replica.ParseRecruitAsk(b); err == nil && !bytes.Equal(a.Append(nil), b) {
			t.Fatalf("%x is not canonical", b)
		}
		if a, err := replica.ParseRecruitAnswer(b); err == nil && !bytes.Equal(a.Append(nil), b) {
			t.Fatalf("%x is not canonical", b)
		}
	})
}
