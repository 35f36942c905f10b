package feed_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// shared are the texts that are stored for several users.
func (d *desk) shared() (n int) {
	d.t.Helper()
	for _, kind := range []byte{'s', 'u'} {
		of := 0
		err := d.st.View(func(tx *store.Tx) error {
			var last store.Key
			for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix([]byte{kind}), KeysOnly: true}) {
				if err != nil {
					return err
				}
				if kind == 'u' || it.Key != last && !samePiece(it.Key, last) {
					of++
				}
				last = it.Key
			}
			return nil
		})
		if err != nil {
			d.t.Fatal(err)
		}
		if kind == 'u' && of != n {
			d.t.Errorf("%d texts, and counts of %d", n, of)
		}
		n = of
	}
	return n
}

// samePiece says whether two keys are of pieces of one text.
func samePiece(a, b store.Key) bool {
	x, err1 := store.SpaceFeed.Parse(a)
	y, err2 := store.SpaceFeed.Parse(b)
	return err1 == nil && err2 == nil && len(x) == len(y) && bytes.Equal(x[:len(x)-2], y[:len(y)-2])
}

// TestLongText: a text that is longer than any value in the store reaches several users and
// one, whole, and goes again.
func TestLongText(t *testing.T) {
	d := open(t)
	defer d.close()
	bob, carol := user("bob"), user("carol")
	text := strings.Repeat("long ", 28<<10) // 140 KiB, where a value has at most 128
	for i, to := range [][]uri.User{{bob}, {bob, carol}} {
		d.update(func(tx *store.Tx) error { return d.f.PutAll(tx, to, clientapi.EventWelcome, fmt.Sprint(i, text)) })
	}
	for u, n := range map[uri.User]int{bob: 2, carol: 1} {
		s := d.stream(u, "late", "")
		got := drain(t, s)
		s.Close()
		if len(got) != n || !strings.HasSuffix(got[n-1].what, "1"+text+"\"") {
			t.Errorf("%s has %d texts", u, len(got))
		}
	}
	for _, u := range []uri.User{bob, carol} {
		for range feed.MaxInbox / 50 {
			d.update(func(tx *store.Tx) error {
				for range 50 {
					if err := d.f.Put(tx, u, clientapi.EventConsent, "x"); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	if n := d.shared(); n != 0 {
		t.Errorf("%d texts are left of nobody", n)
	}
}

// TestPutAll: what many users are told takes the room of one in the store and in a
// transaction, which would not hold it for each; whoever has a stream open hears it, and who
// comes later reads it; and it goes with the last who has it in store, not before.
func TestPutAll(t *testing.T) {
	d := open(t)
	defer d.close()
	var all []uri.User
	for i := range 40 {
		all = append(all, user(strings.Repeat("u", i+1)))
	}
	heard := d.stream(all[0], "there", "")
	defer heard.Close()
	if got := drain(t, heard); len(got) != 0 {
		t.Fatal(got)
	}
	text := strings.Repeat("welcome ", 8<<10) // of 64 KiB; a transaction here holds 150
	tell := func(to []uri.User, text string) {
		d.update(func(tx *store.Tx) error { return d.f.PutAll(tx, to, clientapi.EventWelcome, text) })
	}
	tell(nil, text)
	tell(all[:1], "for one")
	if n := d.shared(); n != 0 {
		t.Errorf("%d texts are shared by nobody", n)
	}
	tell(all, text)
	tell(all[:2], text) // the same again
	tell(all[1:3], "another")
	if n := d.shared(); n != 2 {
		t.Errorf("%d texts are stored, of 2", n)
	}
	checked := 0
	err := d.st.View(func(tx *store.Tx) error { // as mimid verify does
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceFeed.Prefix(nil)}) {
			if err == nil {
				err = feed.Check(it)
			}
			if err != nil {
				return err
			}
			checked++
		}
		return nil
	})
	if err != nil || checked < 80 {
		t.Errorf("%d records are checked: %v", checked, err)
	}
	has := func(s *feed.Stream, want ...string) {
		t.Helper()
		var got []string
		for _, e := range drain(t, s) {
			got = append(got, strings.Trim(strings.TrimPrefix(e.what, clientapi.EventWelcome), "\""))
		}
		if !slices.Equal(got, want) {
			for i := range got {
				got[i] = got[i][:min(20, len(got[i]))]
			}
			t.Errorf("%q, which are %d and not %d", got, len(got), len(want))
		}
	}
	has(heard, "for one", text, text)
	for i, want := range [][]string{{"for one", text, text}, {text, text, "another"}, {text, "another"}, {text}} {
		s := d.stream(all[i], "late", "")
		has(s, want...)
		s.Close()
	}
	// Two of them get so much that it is deleted for them.
	fill := func(u uri.User) {
		for range feed.MaxInbox / 50 {
			d.update(func(tx *store.Tx) error {
				for range 50 {
					if err := d.f.Put(tx, u, clientapi.EventConsent, "x"); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	fill(all[1])
	if n := d.shared(); n != 2 {
		t.Errorf("%d texts are left, and both are still somebody's", n)
	}
	s := d.stream(all[2], "later", "")
	has(s, text, "another")
	s.Close()
	fill(all[2])
	if n := d.shared(); n != 1 {
		t.Errorf("%d texts are left, of which one is somebody's", n)
	}
	tell(all[1:3], "another")
	if n := d.shared(); n != 2 {
		t.Errorf("%d texts, when one is told anew", n)
	}
}

// FuzzInboxEvent: a stored event that is damaged is told as such.
func FuzzInboxEvent(f *testing.F) {
	f.Add([]byte{1, 1, 'e', 1, 'd'})
	f.Add(append([]byte{2, 1, 'e'}, bytes.Repeat([]byte{7}, 32)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := feed.InboxEvent(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is read as %x", b, again)
		}
	})
}
