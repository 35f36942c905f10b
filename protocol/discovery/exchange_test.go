package discovery_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

var peer = []byte("12D3KooW-atlanta")

// lookup is biloxi looking alice up at atlanta, with what is on the wire.
type lookup struct {
	*world
	announcer *discovery.Announcer
	searcher  *discovery.Searcher
	claims    []*discovery.VerifiedClaim
}

func newLookup(t testing.TB) *lookup {
	t.Helper()
	l := &lookup{world: newWorld(t)}
	l.claims = []*discovery.VerifiedClaim{l.claim(l.alice, nil)}
	var err error
	l.announcer, err = discovery.NewAnnouncer(l.atlanta, peer)
	must(t, err)
	l.searcher = l.search(discovery.DayOf(now))
	return l
}

func (l *lookup) search(d discovery.Day) *discovery.Searcher {
	l.t.Helper()
	s, err := discovery.NewSearcher(l.secret, d, l.biloxi, peer)
	must(l.t, err)
	return s
}

func (l *lookup) challenge(q discovery.Query) discovery.Challenge {
	l.t.Helper()
	c, err := l.announcer.Challenge(q, l.biloxi, l.secret, now)
	must(l.t, err)
	return c
}

func (l *lookup) reveal() discovery.Reveal {
	l.t.Helper()
	m, err := l.searcher.Reveal(l.challenge(l.searcher.Query()))
	must(l.t, err)
	return m
}

// The whole story, every message through its encoding.
func TestLookup(t *testing.T) {
	l := newLookup(t)
	q, err := discovery.ParseQuery(l.searcher.Query().Bytes())
	must(t, err)
	c, err := discovery.ParseChallenge(l.challenge(q).Bytes())
	must(t, err)
	m, err := l.searcher.Reveal(c)
	must(t, err)
	m, err = discovery.ParseReveal(m.Bytes())
	must(t, err)
	if m.Handle != l.secret.Handle() || l.searcher.Announcer() != l.atlanta {
		t.Error("another handle or announcer")
	}
	a, err := l.announcer.Answer(m, l.biloxi, l.secret, l.claims, now.Add(discovery.MaxPause))
	must(t, err)
	a, err = discovery.ParseAnswer(a.Bytes())
	must(t, err)
	found, refused, err := l.searcher.Claims(a, l.anchors, now)
	if err != nil || len(refused) > 0 || len(found) != 1 || found[0].User() != l.alice.user {
		t.Fatal(found, refused, err)
	}
}

// Who names the key but does not know the identifier gets nothing.
func TestAnnouncerWithoutSecret(t *testing.T) {
	l := newLookup(t)
	good := l.challenge(l.searcher.Query())
	otherPeer, err := discovery.NewAnnouncer(l.atlanta, []byte("12D3KooW-mallory"))
	must(t, err)
	between, err := otherPeer.Challenge(l.searcher.Query(), l.biloxi, l.secret, now)
	must(t, err)
	asBiloxi, err := discovery.NewAnnouncer(l.biloxi, peer)
	must(t, err)
	asAnother, err := asBiloxi.Challenge(l.searcher.Query(), l.biloxi, l.secret, now)
	must(t, err)
	asAnother.Announcer = l.atlanta
	toAnother := l.search(discovery.DayOf(now)).Query()
	yesterday := l.search(discovery.DayOf(now) - 1).Query()
	asYesterday := l.searcher.Query()
	asYesterday.DayKey = l.secret.DayKey(discovery.DayOf(now) - 1)
	changed := good
	changed.Nonce[0]++
	invented := good
	invented.Proof = [32]byte{}
	for _, c := range []struct {
		why string
		c   discovery.Challenge
	}{
		{"invented", invented},
		{"for another nonce of its own", changed},
		{"of a true announcer that another peer passes on", between},
		{"in another domain's name", asAnother},
		{"replayed from another query", l.challenge(toAnother)},
		{"to the same query with another day", l.challenge(asYesterday)},
		{"replayed from another day", l.challenge(yesterday)},
	} {
		s := *l.searcher // the same query
		if m, err := s.Reveal(c.c); !errors.Is(err, discovery.ErrProof) || m != (discovery.Reveal{}) {
			t.Errorf("%s: %v", c.why, err)
		}
		if _, err := s.Reveal(good); !errors.Is(err, discovery.ErrOrder) {
			t.Errorf("%s: a second try: %v", c.why, err)
		}
	}
	s := *l.searcher
	if _, err := s.Reveal(discovery.Challenge{}); !errors.Is(err, discovery.ErrParty) {
		t.Error("zero challenge:", err)
	}
}

func TestSearcherWithoutSecret(t *testing.T) {
	l := newLookup(t)
	good := l.reveal()
	edit := func(f func(*discovery.Reveal)) discovery.Reveal { m := good; f(&m); return m }
	restarted, err := discovery.NewAnnouncer(l.atlanta, peer)
	must(t, err)
	for _, c := range []struct {
		why  string
		at   *discovery.Announcer
		m    discovery.Reveal
		from uri.Provider
		now  time.Time
		want error
	}{
		{"good", l.announcer, good, l.biloxi, now, nil},
		{"no proof", l.announcer, edit(func(m *discovery.Reveal) { m.Proof[31]++ }), l.biloxi, now, discovery.ErrProof},
		{"another handle", l.announcer, edit(func(m *discovery.Reveal) { m.Handle[0]++ }), l.biloxi, now, discovery.ErrProof},
		{"the announcer's own proof sent back", l.announcer, edit(func(m *discovery.Reveal) { m.Proof = l.challenge(m.Query).Proof }), l.biloxi, now, discovery.ErrProof},
		{"another searcher replays it", l.announcer, good, l.atlanta, now, discovery.ErrParty},
		{"and says so", l.announcer, edit(func(m *discovery.Reveal) { m.Query.Searcher = l.atlanta }), l.atlanta, now, discovery.ErrNonce},
		{"another nonce of the searcher", l.announcer, edit(func(m *discovery.Reveal) { m.Query.Nonce[0]++ }), l.biloxi, now, discovery.ErrNonce},
		{"another day", l.announcer, edit(func(m *discovery.Reveal) { m.Query.DayKey = l.secret.DayKey(discovery.DayOf(now) + 1) }), l.biloxi, now, discovery.ErrNonce},
		{"invented nonce", l.announcer, edit(func(m *discovery.Reveal) { m.Nonce[31]++ }), l.biloxi, now, discovery.ErrNonce},
		{"nonce with another time", l.announcer, edit(func(m *discovery.Reveal) { m.Nonce[7]++ }), l.biloxi, now, discovery.ErrNonce},
		{"at another announcer", restarted, good, l.biloxi, now, discovery.ErrNonce},
		{"too late", l.announcer, good, l.biloxi, now.Add(discovery.MaxPause + time.Millisecond), discovery.ErrPause},
		{"a clock that went back", l.announcer, good, l.biloxi, now.Add(-discovery.MaxPause - time.Millisecond), discovery.ErrPause},
	} {
		a, err := c.at.Answer(c.m, c.from, l.secret, l.claims, c.now)
		if !errors.Is(err, c.want) || (err == nil) != (len(a.Claims) == 1) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
	if _, err := l.announcer.Answer(good, l.biloxi, l.secret, make([]*discovery.VerifiedClaim, 17), now); !errors.Is(err, presentation.ErrTooLarge) {
		t.Error("17 claims:", err)
	}
	if _, err := l.announcer.Answer(good, l.biloxi, discovery.Secret{}, nil, now); !errors.Is(err, discovery.ErrNoIdentifier) {
		t.Error("no secret:", err)
	}
}

func TestDaysOfQueries(t *testing.T) {
	l := newLookup(t)
	for d, want := range map[discovery.Day]error{
		discovery.DayOf(now) - 2: discovery.ErrDay, discovery.DayOf(now) - 1: nil, discovery.DayOf(now): nil,
		discovery.DayOf(now) + 1: nil, discovery.DayOf(now) + 2: discovery.ErrDay,
	} {
		if _, err := l.announcer.Challenge(l.search(d).Query(), l.biloxi, l.secret, now); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", d, err, want)
		}
	}
	if _, err := l.announcer.Challenge(l.searcher.Query(), l.biloxi, secretOf(t, "handle:x"), now); !errors.Is(err, discovery.ErrDay) {
		t.Error("another identifier:", err)
	}
}

func TestAnswerIsVerified(t *testing.T) {
	l := newLookup(t)
	unsigned, err := discovery.Sign(l.alice.key, l.alice.cert, l.secret, l.terms(l.alice))
	must(t, err)
	a := discovery.Answer{Claims: []*discovery.Claim{unsigned, l.claim(l.bob, nil).Claim(), l.claims[0].Claim()}}
	if _, _, err := l.searcher.Claims(a, l.anchors, now); !errors.Is(err, discovery.ErrOrder) {
		t.Error("an answer before the proof:", err)
	}
	l.reveal()
	found, refused, err := l.searcher.Claims(a, l.anchors, now)
	if err != nil || len(found) != 1 || len(refused) != 2 || !errors.Is(refused[0], discovery.ErrNotEndorsed) || !errors.Is(refused[1], discovery.ErrOtherProvider) {
		t.Error(found, refused, err)
	}
	if _, _, err := l.searcher.Claims(a, l.anchors, now); !errors.Is(err, discovery.ErrOrder) {
		t.Error("a second answer:", err)
	}
}

func TestPartiesAreNeeded(t *testing.T) {
	l := newLookup(t)
	_, noSecret := discovery.NewSearcher(discovery.Secret{}, 1, l.biloxi, peer)
	_, noSelf := discovery.NewSearcher(l.secret, 1, uri.Provider{}, peer)
	_, noPeer := discovery.NewSearcher(l.secret, 1, l.biloxi, nil)
	_, noDomain := discovery.NewAnnouncer(uri.Provider{}, peer)
	_, noName := discovery.NewAnnouncer(l.atlanta, nil)
	if !errors.Is(noSecret, discovery.ErrNoIdentifier) {
		t.Error(noSecret)
	}
	for _, err := range []error{noSelf, noPeer, noDomain, noName} {
		if !errors.Is(err, discovery.ErrParty) {
			t.Error(err)
		}
	}
}

// Messages are read strictly: neither shorter nor longer, of one version.
func TestMessagesAreStrict(t *testing.T) {
	l := newLookup(t)
	m := l.reveal()
	for name, good := range map[string][]byte{
		"query": m.Query.Bytes(), "challenge": l.challenge(m.Query).Bytes(), "reveal": m.Bytes(),
		"answer": discovery.Answer{Claims: []*discovery.Claim{l.claims[0].Claim()}}.Bytes(),
	} {
		read := readers[name]
		if b, err := read(good); err != nil || !bytes.Equal(b, good) {
			t.Errorf("%s: %v", name, err)
		}
		for i := range good {
			if _, err := read(good[:i]); err == nil {
				t.Errorf("%s: %d of %d bytes accepted", name, i, len(good))
			}
		}
		if _, err := read(append(bytes.Clone(good), 0)); err == nil {
			t.Errorf("%s: a byte too many accepted", name)
		}
		if _, err := read(append([]byte{9}, good[1:]...)); !errors.Is(err, discovery.ErrVersion) {
			t.Errorf("%s: another version: %v", name, err)
		}
		if _, err := read(make([]byte, discovery.MaxAnswer+1)); !errors.Is(err, presentation.ErrTooLarge) {
			t.Errorf("%s: too large: %v", name, err)
		}
	}
}

// readers parse a message and write it again.
var readers = map[string]func([]byte) ([]byte, error){
	"query":     func(b []byte) ([]byte, error) { m, err := discovery.ParseQuery(b); return m.Bytes(), err },
	"challenge": func(b []byte) ([]byte, error) { m, err := discovery.ParseChallenge(b); return m.Bytes(), err },
	"reveal":    func(b []byte) ([]byte, error) { m, err := discovery.ParseReveal(b); return m.Bytes(), err },
	"answer":    func(b []byte) ([]byte, error) { m, err := discovery.ParseAnswer(b); return m.Bytes(), err },
}

func FuzzMessages(f *testing.F) {
	l := newLookup(f)
	m := l.reveal()
	f.Add(m.Bytes())
	f.Add(m.Query.Bytes())
	f.Add(l.challenge(m.Query).Bytes())
	f.Add(discovery.Answer{Claims: []*discovery.Claim{l.claims[0].Claim()}}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, read := range readers {
			if out, err := read(b); err == nil && !bytes.Equal(out, b) {
				t.Fatalf("%s: another encoding", name)
			}
		}
	})
}
