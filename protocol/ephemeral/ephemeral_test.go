package ephemeral_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/ephemeral"
	"github.com/mimid/mimid/protocol/mls"
)

var (
	now  = time.Date(2026, 11, 29, 12, 0, 0, 123e6, time.UTC)
	club = ephemeral.Room{1}
	cfg  = mls.Config{Authenticator: mls.AcceptBasic{}}
)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func params(t testing.TB, name string) mls.LeafParams {
	key := must[mls.SignatureKey](t)(mls.GenerateSignatureKey(mls.X25519AES128Ed25519))
	return mls.LeafParams{Suite: mls.X25519AES128Ed25519, Signer: key, Credential: mls.BasicCredential([]byte(name)), Lifetime: mls.LifetimeOf(now, 90*24*time.Hour)}
}

// member is one, with its key.
type member struct {
	*mls.Group
	sign mls.SignatureKey
}

// pair are Alice and Bob in a group.
func pair(t testing.TB) (alice, bob member) {
	a, b := params(t, "alice"), params(t, "bob")
	alice = member{must[*mls.Group](t)(mls.CreateGroup(mls.GroupParams{LeafParams: a}, cfg)), a.Signer}
	keys := must[*mls.PrivateKeyPackage](t)(mls.NewKeyPackage(b, false, nil))
	valid := must[*mls.ValidKeyPackage](t)(keys.KeyPackage().Verify(cfg, now))
	staged := must[*mls.StagedCommit](t)(alice.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{valid}}, now))
	if err := alice.Merge(staged); err != nil {
		t.Fatal(err)
	}
	bob = member{must[*mls.Group](t)(mls.JoinWelcome(staged.Welcome, keys, mls.JoinOptions{Tree: alice.Public().Tree()}, cfg, now)), b.Signer}
	return alice, bob
}

func (m member) seal(t testing.TB, s ephemeral.Signal) []byte {
	t.Helper()
	return must[[]byte](t)(ephemeral.Seal(m.Group, club, s, m.sign))
}

// TestSeal: a signal comes to the other member as it was, uses nothing up, and looks the
// same whatever it says.
func TestSeal(t *testing.T) {
	alice, bob := pair(t)
	alice.Unsaved()
	bob.Unsaved()
	sizes := map[int]bool{}
	for i, kind := range []ephemeral.Kind{ephemeral.Typing, ephemeral.Idle, 200} {
		s := ephemeral.Signal{At: now.Add(time.Duration(i) * time.Second), Kind: kind}
		b := alice.seal(t, s)
		if sizes[len(b)] = true; len(b) > ephemeral.MaxSize {
			t.Errorf("%d octets", len(b))
		}
		for range 2 { // the same again is as good: Seen tells
			got, err := ephemeral.Open(bob.Group, club, b)
			if err != nil || got.Leaf != alice.OwnLeaf() || !got.At.Equal(s.At.Truncate(time.Millisecond)) || got.Kind != kind {
				t.Errorf("%+v, %v", got, err)
			}
		}
		if bytes.Equal(b, alice.seal(t, s)) {
			t.Error("the same signal twice is the same octets")
		}
	}
	if len(sizes) != 1 {
		t.Errorf("sizes tell what is said: %v", sizes)
	}
	// Nothing to be stored: the MLS groups have not changed.
	for _, g := range []member{alice, bob} {
		if n := len(g.Unsaved()); n != 0 {
			t.Errorf("%d parts of the group to be stored", n)
		}
	}
}

// TestOpen: what is refused, and why.
func TestOpen(t *testing.T) {
	alice, bob := pair(t)
	mallory, _ := pair(t) // of another group
	s := ephemeral.Signal{At: now, Kind: ephemeral.Typing}
	good := alice.seal(t, s)
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	as := func(leaf mls.LeafIndex, by member) []byte {
		x := s
		x.Leaf = leaf
		return must[[]byte](t)(ephemeral.SealAs(by.Group, club, x, by.sign))
	}
	for _, x := range []struct {
		why  string
		b    []byte
		room ephemeral.Room
		want error
	}{
		{"as it was", good, club, nil},
		{"of another room", good, ephemeral.Room{2}, ephemeral.ErrForged},
		{"nothing", nil, club, ephemeral.ErrMalformed},
		{"another version", flip(0), club, ephemeral.ErrMalformed},
		{"cut", good[:len(good)-1], club, ephemeral.ErrForged},
		{"cut before the end of its head", good[:20], club, ephemeral.ErrMalformed},
		{"longer", append(bytes.Clone(good), 0), club, ephemeral.ErrForged},
		{"too long", append(bytes.Clone(good), make([]byte, ephemeral.MaxSize)...), club, ephemeral.ErrMalformed},
		{"another epoch", flip(8), club, ephemeral.ErrEpoch},
		{"another nonce", flip(9), club, ephemeral.ErrForged},
		{"another text", flip(len(good) - 20), club, ephemeral.ErrForged},
		{"by nobody in the group", mallory.seal(t, s), club, ephemeral.ErrForged},
		{"by a member in another's name", as(bob.OwnLeaf(), alice), club, ephemeral.ErrForged},
		{"by a leaf that is not there", as(77, alice), club, ephemeral.ErrForged},
		{"by a member with another's key", must[[]byte](t)(ephemeral.Seal(alice.Group, club, s, bob.sign)), club, ephemeral.ErrForged},
	} {
		if _, err := ephemeral.Open(bob.Group, x.room, x.b); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, expected %v", x.why, err, x.want)
		}
	}
	// When the epoch ends, what was sealed in it is lost, at both ends.
	staged := must[*mls.StagedCommit](t)(alice.Commit(mls.CommitOptions{}, now))
	got := must[*mls.Received](t)(bob.Process(staged.Message, now))
	if err := errors.Join(alice.Merge(staged), bob.Apply(got)); err != nil {
		t.Fatal(err)
	}
	if _, err := ephemeral.Open(bob.Group, club, good); !errors.Is(err, ephemeral.ErrEpoch) {
		t.Errorf("of the epoch before: %v", err)
	}
	later := alice.seal(t, s)
	copy(later[1:9], good[1:9])
	if _, err := ephemeral.Open(bob.Group, club, later); !errors.Is(err, ephemeral.ErrEpoch) {
		t.Errorf("passed for the epoch before: %v", err)
	}
	copy(good[1:9], alice.seal(t, s)[1:9])
	if _, err := ephemeral.Open(bob.Group, club, good); !errors.Is(err, ephemeral.ErrForged) {
		t.Errorf("of the epoch before, passed for this one: %v", err)
	}
}

// TestSeen: repetitions, late ones and those far from the present are not fresh.
func TestSeen(t *testing.T) {
	var seen ephemeral.Seen
	for _, x := range []struct {
		why   string
		leaf  mls.LeafIndex
		at    time.Duration // since now
		fresh bool
	}{
		{"the first", 1, 0, true},
		{"again", 1, 0, false},
		{"the next", 1, time.Millisecond, true},
		{"the first, again", 1, 0, false},
		{"another member's", 2, 0, true},
		{"a fast clock", 3, ephemeral.Window, true},
		{"a clock that is too fast", 4, ephemeral.Window + 1, false},
		{"a slow clock", 4, -ephemeral.Window, true},
		{"a clock that is too slow", 5, -ephemeral.Window - 1, false},
	} {
		if got := seen.Fresh(ephemeral.Signal{Leaf: x.leaf, At: now.Add(x.at)}, now); got != x.fresh {
			t.Errorf("%s: fresh is %v", x.why, got)
		}
	}
}

// FuzzOpen: no octets make it panic, and none but the sealed ones are accepted.
func FuzzOpen(f *testing.F) {
	alice, bob := pair(f)
	good := alice.seal(f, ephemeral.Signal{At: now, Kind: ephemeral.Typing})
	f.Add(good)
	f.Add([]byte{1})
	f.Add(make([]byte, ephemeral.MaxSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ephemeral.Open(bob.Group, club, b); err == nil && !bytes.Equal(b, good) {
			t.Fatalf("%x is accepted", b)
		}
	})
}
