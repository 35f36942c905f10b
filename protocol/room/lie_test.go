package room_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
)

// lie has a provider sign two histories of the room: from one place, or one longer than the
// other.
func (w *world) lie(provider string, longer bool) room.Lie {
	key, end := w.providers[provider], w.end()
	low, high := end, end
	low.Hash[0] ^= 1
	eq := &room.Equivocation{Low: room.SignHead(low, key), High: room.SignHead(high, key)}
	if longer {
		eq.Low.Head = low
		var es []*room.Entry
		e := &room.Entry{Room: end.Room, Term: end.Term, Seq: end.Seq, Kind: room.KindMessage, Body: []byte("one")}
		for range 3 {
			es = append(es, e)
			e = &room.Entry{Room: end.Room, Term: end.Term, Seq: e.Seq + 1, Prev: e.Hash(), Kind: room.KindMessage, Body: []byte("more")}
		}
		eq.Entries, eq.High = es, room.SignHead(room.HeadOf(es[2]), key)
	}
	return room.Lie{Provider: provider, Histories: eq}
}

// votedTwice has a provider vote for two in one term.
func (w *world) votedTwice(provider string) room.Lie {
	v := room.Vote{Room: w.hub.ID(), Term: room.Term{Number: 9}, Candidate: biloxi, Head: w.end()}
	x := &room.DoubleVote{A: room.SignVote(v, provider, w.providers[provider])}
	v.Candidate = chicago
	x.B = room.SignVote(v, provider, w.providers[provider])
	return room.Lie{Provider: provider, Votes: x}
}

// TestMoveWithoutLiars: a move that proves that one who takes part has lied needs the word of
// all the others, the replaced hub too, which it may name.
func TestMoveWithoutLiars(t *testing.T) {
	for name, lie := range map[string]func(w *world) room.Lie{
		"two heads of one place":      func(w *world) room.Lie { return w.lie(chicago, false) },
		"a history that is longer":    func(w *world) room.Lie { return w.lie(chicago, true) },
		"two votes":                   func(w *world) room.Lie { return w.votedTwice(chicago) },
		"of the hub that is replaced": func(w *world) room.Lie { return w.lie(atlanta, false) },
	} {
		t.Run(name, func(t *testing.T) {
			w, alice, bob, _ := settledThree(t)
			if err := alice.promote(bob); err != nil {
				t.Fatal(err)
			}
			x := lie(w)
			acks := []string{atlanta, biloxi}
			if x.Provider == atlanta {
				acks = []string{biloxi, chicago}
			}
			m := w.move(bob, biloxi, nil)
			m.body.Lies = []room.Lie{x}
			w.acks(m, acks...)
			parts := map[string][]byte{}
			w.reload(parts)
			if _, err := w.put(w.moveEntry(m)); err != nil {
				t.Fatal(err)
			}
			w.done(m)
			w.reload(parts)
			if s := w.follower; s.Hub().Domain != biloxi || s.At().Term != (room.Term{Era: 1, Number: 1}) {
				t.Errorf("%s orders the room in %s", s.Hub().Domain, s.At().Term)
			}
			if err := bob.send("on"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("to the hub that it replaces", func(t *testing.T) {
		w, alice, _, _ := settledThree(t)
		m := w.move(alice, atlanta, nil)
		m.body.Lies = []room.Lie{w.lie(chicago, false)}
		w.acks(m, atlanta, biloxi)
		if _, err := w.put(w.moveEntry(m)); err != nil {
			t.Fatal(err)
		}
		if s := w.hub; s.Hub().Domain != atlanta || s.At().Term.Era != 1 {
			t.Errorf("%s orders the room in %s", s.Hub().Domain, s.At().Term)
		}
	})
}

// TestMoveWithoutLiarsRefused: nobody is left out without a proof, and nobody else is left out.
func TestMoveWithoutLiarsRefused(t *testing.T) {
	w, alice, bob, _ := settledThree(t)
	if err := alice.promote(bob); err != nil {
		t.Fatal(err)
	}
	w.providers["dallas.example"] = key(77)
	good := w.lie(chicago, false)
	change := func(edit func(l *room.Lie)) room.Lie {
		l := w.lie(chicago, true)
		edit(&l)
		return l
	}
	for _, c := range []struct {
		why  string
		by   *device
		hub  string
		acks []string
		lies []room.Lie
		want error
	}{
		{"the replaced hub has not said it", bob, biloxi, []string{biloxi}, []room.Lie{good}, room.ErrQuorum},
		{"who moves has not said it", bob, biloxi, []string{atlanta}, []room.Lie{good}, room.ErrQuorum},
		{"the liar has", bob, biloxi, []string{atlanta, biloxi, chicago}, []room.Lie{good}, room.ErrVote},
		{"the liar in place of another", bob, biloxi, []string{biloxi, chicago}, []room.Lie{good}, room.ErrVote},
		{"no lie: the replaced hub does not count", bob, biloxi, []string{atlanta, biloxi}, nil, room.ErrVote},
		{"no lie: to the hub that is replaced", alice, atlanta, []string{biloxi, chicago}, nil, room.ErrVote},
		{"to the liar", bob, biloxi, []string{atlanta, chicago}, []room.Lie{w.lie(biloxi, false)}, room.ErrVote},
		{"who takes no part has lied", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{w.lie("dallas.example", false)}, room.ErrVote},
		{"one history twice", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{change(func(l *room.Lie) { l.Histories.Low = l.Histories.High; l.Histories.Entries = nil })}, room.ErrNoProof},
		{"of another room", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{change(func(l *room.Lie) {
			h := l.Histories
			h.Low.Room[0] ^= 1
			h.High.Room[0] ^= 1
			h.High.Seq, h.Entries = h.Low.Seq, nil
			h.Low, h.High = room.SignHead(h.Low.Head, w.providers[chicago]), room.SignHead(h.High.Head, w.providers[chicago])
		})}, room.ErrNoProof},
		{"signed by another", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{{Provider: chicago, Histories: w.lie(atlanta, false).Histories}}, room.ErrSignature},
		{"another's votes", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{{Provider: chicago, Votes: w.votedTwice(atlanta).Votes}}, room.ErrNoProof},
		{"one vote", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{{Provider: chicago, Votes: &room.DoubleVote{A: w.votedTwice(chicago).Votes.A, B: w.votedTwice(chicago).Votes.A}}}, room.ErrNoProof},
		{"one lie twice", bob, biloxi, []string{atlanta, biloxi}, []room.Lie{good, good}, room.ErrVote},
	} {
		t.Run(c.why, func(t *testing.T) {
			m := w.move(c.by, c.hub, nil)
			m.body.Lies = c.lies
			w.acks(m, c.acks...)
			before := w.hub.At()
			if _, err := w.hub.Check(w.moveEntry(m)); !errors.Is(err, c.want) {
				t.Errorf("%v, expected %v", err, c.want)
			}
			if w.hub.At() != before {
				t.Error("refused, and yet the room moved")
			}
		})
	}
	// In the absence of others nobody is left out besides.
	m := w.move(bob, biloxi, nil)
	m.body.Lies = []room.Lie{good}
	w.acks(m, biloxi)
	lead := w.hub.Lead()
	if err := lead.Acknowledged(w.moveEntry(m), w.hub.At(), &m.body, []string{atlanta, biloxi, chicago}, []string{atlanta}, w.rules.Anchors); !errors.Is(err, room.ErrVote) {
		t.Errorf("in the absence of the hub: %v", err)
	}
}

// TestLieLimits: proofs are bounded before they are made anything of.
func TestLieLimits(t *testing.T) {
	w, _, _, _ := settledThree(t)
	x := someMove()
	for i := range room.MaxLies {
		l := w.lie(chicago, false)
		l.Provider = fmt.Sprintf("p%02d.example", i)
		x.Lies = append(x.Lies, l)
	}
	if b := x.Bytes(); b[1] != 4 {
		t.Errorf("via %d", b[1])
	} else if c := must(room.ParseHubChange(b))(t); c.Via != room.ByMove || len(c.Lies) != room.MaxLies || !bytes.Equal(c.Bytes(), b) {
		t.Errorf("%s with %d lies", c.Via, len(c.Lies))
	}
	big := someMove()
	l := w.lie(chicago, true)
	l.Histories.Entries[0].Body = make([]byte, room.MaxLieBytes)
	big.Lies = []room.Lie{l}
	if _, err := room.ParseHubChange(big.Bytes()); !errors.Is(err, presentation.ErrMalformed) {
		t.Errorf("a proof of more than %d bytes: %v", room.MaxLieBytes, err)
	}
	l = w.lie(chicago, false)
	l.Provider = "z.example"
	x.Lies = append(x.Lies, l)
	if _, err := room.ParseHubChange(x.Bytes()); err == nil {
		t.Errorf("%d lies decode", len(x.Lies))
	}
	none := someMove().Bytes()
	none[1] = 4
	if _, err := room.ParseHubChange(append(none, 0)); !errors.Is(err, presentation.ErrMalformed) {
		t.Errorf("a move without liars that names none: %v", err)
	}
}
