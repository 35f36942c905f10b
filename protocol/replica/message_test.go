package replica_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"flag"
	"os"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/replica"
	"github.com/mimid/mimid/protocol/room"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.seed", "1")
	os.Exit(m.Run())
}

var key = ed25519.NewKeyFromSeed(make([]byte, 32))

func term(t *rapid.T) room.Term {
	return room.Term{Era: rapid.Uint32().Draw(t, "era"), Number: rapid.Uint64().Draw(t, "number")}
}

func hash(t *rapid.T) (h room.Hash) {
	copy(h[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"))
	return h
}

func place(t *rapid.T) hub.Head {
	return hub.Head{Term: term(t), Seq: rapid.Uint64().Draw(t, "seq"), Hash: hash(t)}
}

func vote(t *rapid.T, m *replica.Message, release bool) *room.SignedVote {
	v := room.Vote{Room: m.Room, Set: hash(t), Term: m.Term, Candidate: "b.example", Release: release,
		Head: room.Head{Room: m.Room, Term: m.Head.Term, Seq: m.Head.Seq, Hash: m.Head.Hash}}
	s := room.SignVote(v, "a.example", key)
	return &s
}

// message draws a message as a provider sends it.
func message(t *rapid.T) *replica.Message {
	m := &replica.Message{Kind: replica.Kind(rapid.IntRange(1, 15).Draw(t, "kind"))}
	m.Room = room.ID(hash(t))
	switch m.Kind {
	case replica.CoSign:
		h := place(t)
		c := room.CoSign(room.Head{Room: m.Room, Term: h.Term, Seq: h.Seq, Hash: h.Hash}, key)
		m.Sign, m.Head, m.Term = &c, h, h.Term
	case replica.Refuse:
		m.Term, m.Seen, m.Hub = term(t), term(t), rapid.SampledFrom([]string{"", "a.example"}).Draw(t, "hub")
	case replica.Need, replica.Ask:
		m.Head = place(t)
	case replica.AskVote:
		m.Term, m.Head = term(t), place(t)
	case replica.Would:
		m.Term, m.Seen, m.Grant = term(t), term(t), rapid.Bool().Draw(t, "grant")
	case replica.Stand:
		m.Term, m.Head, m.Set = term(t), place(t), hash(t)
		if m.Excuse = hub.Excuse(rapid.IntRange(0, 3).Draw(t, "excuse")); m.Excuse == hub.Released {
			rel := *m
			rel.Term, rel.Head = term(t), place(t)
			m.Vote = vote(t, &rel, true)
		}
		if m.Excuse == hub.Asked {
			m.Commit = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "commit")
		}
	case replica.Grant:
		m.Term, m.Head, m.Seen = term(t), place(t), term(t)
		if m.Grant = rapid.Bool().Draw(t, "grant"); m.Grant {
			m.Vote = vote(t, m, false)
		}
	case replica.Release:
		m.Term, m.Head = term(t), place(t)
		m.Vote = vote(t, m, true)
	case replica.Show:
		m.Piece = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "piece")
	case replica.Move:
		m.Term, m.Head, m.Final = term(t), place(t), place(t)
		m.Commit = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "commit")
	case replica.Ack:
		m.Term, m.Head, m.Seen = term(t), place(t), term(t)
		if m.Grant = rapid.Bool().Draw(t, "grant"); m.Grant {
			a := room.SignAck(room.Ack{Room: m.Room, Term: m.Term, Hub: "b.example", Commit: hash(t),
				Head: room.Head{Room: m.Room, Term: m.Head.Term, Seq: m.Head.Seq, Hash: m.Head.Hash}}, false, "a.example", key)
			m.Ack = &a
		}
	case replica.Answer:
		m.Head, m.Seen = place(t), term(t)
	case replica.Voted:
		v := replica.Message{Room: m.Room, Term: term(t), Head: place(t)}
		m.Twice = &room.DoubleVote{A: *vote(t, &v, false), B: *vote(t, &v, true)}
	case replica.Relayed:
		y, err := replica.SignRelay(m.Room, replica.Request(rapid.IntRange(1, 2).Draw(t, "request")), "a.example",
			room.TxnNonce(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "nonce")), rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "body"), key)
		if err != nil {
			t.Fatal(err)
		}
		m.Relay = y
	}
	return m
}

// TestRoundTrip: what is sent is what arrives, and no shorter input is anything.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(message), 0, 4).Draw(t, "messages")
		b := replica.Append(nil, list)
		back, err := replica.Parse(b)
		if err != nil {
			// A vote below the head's term, which only a liar would send.
			if errors.Is(err, replica.ErrMessage) || errors.Is(err, room.ErrVote) || errors.Is(err, presentation.ErrMalformed) {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		if len(back) != len(list) {
			t.Fatalf("%d messages of %d", len(back), len(list))
		}
		for i := range list {
			if !reflect.DeepEqual(back[i], list[i]) {
				t.Fatalf("message %d: %+v\nback: %+v", i, list[i], back[i])
			}
		}
		for n := range len(b) {
			if _, err := replica.Parse(b[:n]); err == nil {
				t.Fatalf("the first %d of %d octets are messages", n, len(b))
			}
		}
	})
}

// TestRefused: messages that contradict themselves.
func TestRefused(t *testing.T) {
	id := room.ID{1}
	head := room.Head{Room: id, Term: room.Term{Number: 1}, Seq: 7, Hash: room.Hash{2}}
	at := hub.Head{Term: head.Term, Seq: head.Seq, Hash: head.Hash}
	signed := func(f func(v *room.Vote)) *room.SignedVote {
		v := room.Vote{Room: id, Term: room.Term{Number: 2}, Candidate: "b.example", Head: head}
		f(&v)
		s := room.SignVote(v, "a.example", key)
		return &s
	}
	elsewhere := head
	elsewhere.Room = room.ID{9}
	cosigned := room.CoSign(elsewhere, key)
	grant := func(v *room.SignedVote) *replica.Message {
		return &replica.Message{Room: id, Kind: replica.Grant, Term: room.Term{Number: 2}, Head: at, Grant: true, Vote: v}
	}
	if _, err := replica.Parse(replica.Append(nil, []*replica.Message{grant(signed(func(*room.Vote) {}))})); err != nil {
		t.Fatalf("a good vote: %v", err)
	}
	twice := func(a, b room.SignedVote) *replica.Message {
		return &replica.Message{Room: id, Kind: replica.Voted, Twice: &room.DoubleVote{A: a, B: b}}
	}
	released := func(v *room.Vote) { v.Release = true }
	foreign := func(release bool) room.SignedVote {
		return *signed(func(v *room.Vote) { v.Room, v.Head.Room, v.Release = room.ID{9}, room.ID{9}, release })
	}
	by := func(voter string) room.SignedVote {
		v := signed(released)
		v.Voter = voter
		return *v
	}
	if _, err := replica.Parse(replica.Append(nil, []*replica.Message{twice(*signed(func(*room.Vote) {}), *signed(released))})); err != nil {
		t.Fatalf("a good proof: %v", err)
	}
	for what, m := range map[string]*replica.Message{
		"co-signature of another room": {Room: id, Kind: replica.CoSign, Sign: &cosigned},
		"vote in another term":         grant(signed(func(v *room.Vote) { v.Term.Number = 3 })),
		"vote on another head":         grant(signed(func(v *room.Vote) { v.Head.Seq++ })),
		"vote of another room":         grant(signed(func(v *room.Vote) { v.Room, v.Head.Room = room.ID{9}, room.ID{9} })),
		"release as a grant":           grant(signed(func(v *room.Vote) { v.Release = true })),
		"grant as a release":           {Room: id, Kind: replica.Release, Vote: signed(func(*room.Vote) {})},
		"excuse 4":                     {Room: id, Kind: replica.Stand, Excuse: 4},
		"relay of request 3":           {Room: id, Kind: replica.Relayed, Relay: &replica.Relay{Request: 3, Origin: "a.example"}},
		"one vote twice":               twice(*signed(func(*room.Vote) {}), *signed(func(*room.Vote) {})),
		"votes in two terms":           twice(*signed(func(*room.Vote) {}), *signed(func(v *room.Vote) { v.Term.Number++ })),
		"votes of another room":        twice(foreign(false), foreign(true)),
		"votes of two voters":          twice(*signed(func(*room.Vote) {}), by("c.example")),
		"relay of nobody":              {Room: id, Kind: replica.Relayed, Relay: &replica.Relay{Request: 1}},
	} {
		if _, err := replica.Parse(replica.Append(nil, []*replica.Message{m})); !errors.Is(err, replica.ErrMessage) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := replica.Parse(append([]byte{33}, make([]byte, 33)...)); !errors.Is(err, replica.ErrMessage) {
		t.Errorf("kind 0: %v", err)
	}
	if _, err := replica.Parse(make([]byte, replica.MaxBytes+1)); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// TestRelay: a relay is its origin's, for one room, as it was signed.
func TestRelay(t *testing.T) {
	id, nonce := room.ID{1}, room.TxnNonce{2}
	make1 := func() *replica.Relay {
		y, err := replica.SignRelay(id, replica.Update, "a.example", nonce, []byte("body"), key)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	other := ed25519.NewKeyFromSeed(append(make([]byte, 31), 99)).Public()
	if err := make1().Verify(id, []crypto.PublicKey{other, "no key", key.Public()}); err != nil {
		t.Error(err)
	}
	if make1().Txn() != room.TxnIDOf(nonce, []byte("body")) {
		t.Error("another transaction")
	}
	for what, f := range map[string]func(y *replica.Relay) (room.ID, []crypto.PublicKey){
		"another room": func(*replica.Relay) (room.ID, []crypto.PublicKey) {
			return room.ID{2}, []crypto.PublicKey{key.Public()}
		},
		"another key": func(*replica.Relay) (room.ID, []crypto.PublicKey) { return id, []crypto.PublicKey{other} },
		"no key":      func(*replica.Relay) (room.ID, []crypto.PublicKey) { return id, nil },
		"another request": func(y *replica.Relay) (room.ID, []crypto.PublicKey) {
			y.Request = replica.SubmitMessage
			return id, []crypto.PublicKey{key.Public()}
		},
		"another origin": func(y *replica.Relay) (room.ID, []crypto.PublicKey) {
			y.Origin = "b.example"
			return id, []crypto.PublicKey{key.Public()}
		},
		"another nonce": func(y *replica.Relay) (room.ID, []crypto.PublicKey) {
			y.Nonce[3]++
			return id, []crypto.PublicKey{key.Public()}
		},
		"another body": func(y *replica.Relay) (room.ID, []crypto.PublicKey) {
			y.Body = []byte("bodi")
			return id, []crypto.PublicKey{key.Public()}
		},
	} {
		y := make1()
		room, keys := f(y)
		if err := y.Verify(room, keys); !errors.Is(err, replica.ErrRelay) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := replica.SignRelay(id, replica.Update, "a.example", nonce, make([]byte, replica.MaxRelay+1), key); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	y, err := replica.SignRelay(id, replica.Update, "a.example", nonce, make([]byte, replica.MaxRelay), key)
	if err != nil {
		t.Fatal(err)
	}
	if b := replica.Append(nil, []*replica.Message{{Room: id, Kind: replica.Relayed, Relay: y}}); len(b) > replica.MaxBytes {
		t.Errorf("the largest makes a request of %d bytes", len(b))
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(replica.Append(nil, nil))
	f.Add(replica.Append(nil, []*replica.Message{{Kind: replica.AskVote}, {Kind: replica.Would, Grant: true}, {Kind: replica.Refuse, Hub: "a.example"}}))
	v := room.Vote{Term: room.Term{Number: 2}, Candidate: "b.example", Head: room.Head{Term: room.Term{Number: 1}}}
	w := v
	w.Candidate = "c.example"
	f.Add(replica.Append(nil, []*replica.Message{{Kind: replica.Voted, Twice: &room.DoubleVote{A: room.SignVote(v, "a.example", key), B: room.SignVote(w, "a.example", key)}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := replica.Parse(b)
		if err != nil {
			return
		}
		if again := replica.Append(nil, list); !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}
