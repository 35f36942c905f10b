package verification_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const atlanta, chicago = "atlanta.example", "chicago.example"

// world is a user of atlanta with a key of each kind, and chicago, the authority.
type world struct {
	t      testing.TB
	keys   map[string]ed25519.PrivateKey
	users  []account // Ed25519, P-256
	mail   discovery.SII
	secret discovery.Secret
}

type account struct {
	user uri.User
	key  crypto.Signer
	cert []byte
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, keys: map[string]ed25519.PrivateKey{}}
	for i, d := range []string{atlanta, chicago} {
		w.keys[d] = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))
	}
	w.users = append(w.users, w.account("mimi://atlanta.example/u/alice", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))),
		w.account("mimi://atlanta.example/u/bob", must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	w.mail = must[discovery.SII](t)(discovery.ParseSII("mailto:alice@mail.example"))
	w.secret = must[discovery.Secret](t)(discovery.ParseSecret(bytes.Repeat([]byte{9}, discovery.KeySize)))
	return w
}

func (w *world) account(name string, key crypto.Signer) account {
	w.t.Helper()
	cert := must[[]byte](w.t)(x509auth.IssueUser(w.keys[atlanta], name, key.Public(), x509auth.ValidFor(now, x509auth.Lifetime)))
	return account{must[uri.User](w.t)(uri.ParseUser(name)), key, cert}
}

func (w *world) anchors(domain string) []crypto.PublicKey {
	if k := w.keys[domain]; k != nil {
		return []crypto.PublicKey{k.Public()}
	}
	return nil
}

func provider(t testing.TB, domain string) uri.Provider {
	t.Helper()
	return must[uri.Provider](t)(uri.ParseDomain(domain))
}

func (w *world) facts(a account, edit func(*verification.Facts)) verification.Facts {
	w.t.Helper()
	f := verification.Facts{ClaimID: w.secret.ClaimID(), User: a.user, KeyID: must[[32]byte](w.t)(discovery.KeyID(a.key.Public())), Method: discovery.MethodMail,
		Authority: provider(w.t, chicago), Issued: now.Add(-time.Hour), Expires: now.Add(100 * 24 * time.Hour)}
	if edit != nil {
		edit(&f)
	}
	return f
}

func (w *world) statement(a account, edit func(*verification.Facts)) *verification.Statement {
	w.t.Helper()
	return must[*verification.Statement](w.t)(verification.Sign(w.keys[chicago], w.facts(a, edit)))
}

func (w *world) claim(a account, statement []byte, method discovery.Method) *discovery.VerifiedClaim {
	w.t.Helper()
	c := must[*discovery.Claim](w.t)(discovery.Sign(a.key, a.cert, w.secret, discovery.Terms{User: a.user, Method: method, Issued: now, Expires: now.Add(30 * 24 * time.Hour),
		Statement: statement}))
	return must[*discovery.VerifiedClaim](w.t)(c.Endorse(w.keys[atlanta], w.secret, w.anchors, now))
}

func (w *world) request(a account, edit func(*verification.Ask)) *verification.Request {
	w.t.Helper()
	ask := verification.Ask{Authority: provider(w.t, chicago), Identifier: w.mail, Method: discovery.MethodMail, User: a.user, At: now}
	if edit != nil {
		edit(&ask)
	}
	return must[*verification.Request](w.t)(verification.NewRequest(a.key, a.cert, ask))
}

// TestStatement: a claim with a statement shows by whom it was verified to who believes that
// authority, by its provider to others, and says what was stated.
func TestStatement(t *testing.T) {
	w := newWorld(t)
	for _, a := range w.users {
		st := w.statement(a, nil)
		v := w.claim(a, st.Bytes(), discovery.MethodMail)
		back := must[*discovery.Claim](t)(discovery.ParseClaim(v.Claim().Bytes()))
		v = must[*discovery.VerifiedClaim](t)(back.Verify(w.secret, w.anchors, now))
		got := must[*verification.Statement](t)(verification.Parse(v.Statement()))
		if f := must[*verification.Verified](t)(got.Verify(v, w.anchors, now)).Facts(); f != w.facts(a, nil) {
			t.Errorf("%+v", f)
		}
		if who, by := verification.Judge(v, []string{"other.example", chicago}, w.anchors, now); who != verification.ByAuthority || by.Authority() != chicago || by.At() != now.Add(-time.Hour).UnixMilli() {
			t.Errorf("judged %s %s", who, by.Authority())
		}
		if who, by := verification.Judge(v, []string{atlanta}, w.anchors, now); who != verification.ByProvider || by != nil || by.Authority() != "" {
			t.Errorf("by who does not believe it: %s %s", who, by.Authority())
		}
		if who, _ := verification.Judge(w.claim(a, nil, discovery.MethodUnverified), []string{chicago}, w.anchors, now); who != verification.ByNobody {
			t.Errorf("an unverified claim: %s", who)
		}
		// Garbage in the place of a statement hides no claim.
		if who, _ := verification.Judge(w.claim(a, []byte("garbage"), discovery.MethodMail), []string{chicago}, w.anchors, now); who != verification.ByProvider {
			t.Errorf("a claim with garbage: %s", who)
		}
		late := now.Add(101 * 24 * time.Hour)
		if who, _ := verification.Judge(v, []string{chicago}, w.anchors, late); who != verification.ByProvider {
			t.Errorf("after its end: %s", who)
		}
	}
}

// TestStatementBinds: a statement is of no use for another identifier, user, key or method, nor
// signed by another, nor outside its time.
func TestStatementBinds(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.users[0], w.users[1]
	other := w.account(alice.user.String(), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)))
	// Bob's account with Alice's key, which a provider could certify.
	sameKey := w.account(bob.user.String(), alice.key)
	forged := must[*verification.Statement](t)(verification.Sign(w.keys[atlanta], w.facts(alice, nil)))
	for what, x := range map[string]struct {
		st   *verification.Statement
		a    account
		m    discovery.Method
		want error
	}{
		"another identifier": {w.statement(alice, func(f *verification.Facts) { f.ClaimID[0] ^= 1 }), alice, discovery.MethodMail, verification.ErrOtherIdentifier},
		"another user":       {w.statement(alice, nil), bob, discovery.MethodMail, verification.ErrOtherUser},
		"the same key":       {w.statement(alice, nil), sameKey, discovery.MethodMail, verification.ErrOtherUser},
		"another key":        {w.statement(alice, nil), other, discovery.MethodMail, verification.ErrOtherKey},
		"another method":     {w.statement(alice, nil), alice, discovery.MethodSMS, verification.ErrOtherMethod},
		"another signer":     {forged, alice, discovery.MethodMail, verification.ErrSignature},
		"from the future":    {w.statement(alice, func(f *verification.Facts) { f.Issued = now.Add(time.Hour) }), alice, discovery.MethodMail, verification.ErrTime},
		"ended":              {w.statement(alice, func(f *verification.Facts) { f.Expires = now }), alice, discovery.MethodMail, verification.ErrExpired},
	} {
		v := w.claim(x.a, x.st.Bytes(), x.m)
		if _, err := x.st.Verify(v, w.anchors, now); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
		if who, _ := verification.Judge(v, []string{chicago}, w.anchors, now); who == verification.ByAuthority {
			t.Errorf("%s: judged verified", what)
		}
	}
	for what, x := range map[string]struct {
		edit func(*verification.Facts)
		want error
	}{
		"too long":      {func(f *verification.Facts) { f.Expires = f.Issued.Add(verification.MaxLifetime + time.Hour) }, verification.ErrLifetime},
		"backwards":     {func(f *verification.Facts) { f.Expires = f.Issued.Add(-time.Hour) }, verification.ErrLifetime},
		"other methods": {func(f *verification.Facts) { f.Method = discovery.MethodOperator }, presentation.ErrMalformed},
		"no user":       {func(f *verification.Facts) { f.User = uri.User{} }, presentation.ErrMalformed},
		"no authority":  {func(f *verification.Facts) { f.Authority = uri.Provider{} }, presentation.ErrMalformed},
	} {
		if _, err := verification.Sign(w.keys[chicago], w.facts(alice, x.edit)); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
	}
	want := w.facts(alice, nil)
	for what, x := range map[string]struct {
		edit func(*verification.Facts)
		want error
	}{
		"itself":     {func(*verification.Facts) {}, nil},
		"identifier": {func(f *verification.Facts) { f.ClaimID[0] ^= 1 }, verification.ErrOtherIdentifier},
		"user":       {func(f *verification.Facts) { f.User = bob.user }, verification.ErrOtherUser},
		"key":        {func(f *verification.Facts) { f.KeyID[0] ^= 1 }, verification.ErrOtherKey},
		"method":     {func(f *verification.Facts) { f.Method = discovery.MethodCall }, verification.ErrOtherMethod},
		"authority":  {func(f *verification.Facts) { f.Authority = provider(t, atlanta) }, verification.ErrOtherAuthority},
	} {
		if err := w.statement(alice, x.edit).Check(want, w.anchors, now); !errors.Is(err, x.want) {
			t.Errorf("checked with another %s: %v", what, err)
		}
	}
}

// TestTampered: every bit of a statement, a request and an answer counts.
func TestTampered(t *testing.T) {
	w := newWorld(t)
	for _, a := range w.users {
		q := w.request(a, nil)
		c := must[*verification.Challenge](t)(verification.NewChallenge(must[*verification.Asked](t)(q.Verify(provider(t, chicago), w.anchors, now)), now))
		code := must[string](t)(c.NextCode(now))
		v := w.claim(a, w.statement(a, nil).Bytes(), discovery.MethodMail)
		for what, x := range map[string]struct {
			good []byte
			ok   func([]byte) error
		}{
			"statement": {w.statement(a, nil).Bytes(), func(b []byte) error {
				s, err := verification.Parse(b)
				if err == nil {
					_, err = s.Verify(v, w.anchors, now)
				}
				return err
			}},
			"request": {q.Bytes(), func(b []byte) error {
				q, err := verification.ParseRequest(b)
				if err == nil {
					_, err = q.Verify(provider(t, chicago), w.anchors, now)
				}
				return err
			}},
			"answer": {must[*verification.Answer](t)(verification.NewAnswer(a.key, c.ID(), code)).Bytes(), func(b []byte) error {
				a, err := verification.ParseAnswer(b)
				if err == nil {
					err = c.Try(a, now)
				}
				return err
			}},
		} {
			if err := x.ok(x.good); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			for i := range x.good {
				bad := bytes.Clone(x.good)
				bad[i] ^= 1 << (i % 8)
				if x.ok(bad) == nil {
					t.Fatalf("%s: byte %d of %d changed, and accepted", what, i, len(bad))
				}
				if x.ok(x.good[:i]) == nil {
					t.Fatalf("%s: the first %d bytes of %d accepted", what, i, len(bad))
				}
			}
			if x.ok(append(bytes.Clone(x.good), 0)) == nil {
				t.Errorf("%s: a byte more accepted", what)
			}
		}
	}
}

// TestRequests: what an authority refuses before it makes a challenge.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.users[0], w.users[1]
	at := func(d time.Duration) func(*verification.Ask) {
		return func(a *verification.Ask) { a.At = now.Add(d) }
	}
	for what, x := range map[string]struct {
		q    *verification.Request
		want error
	}{
		"good":                   {w.request(alice, nil), nil},
		"a little old":           {w.request(alice, at(-verification.MaxAge+time.Second)), nil},
		"too old":                {w.request(alice, at(-verification.MaxAge-time.Second)), verification.ErrTime},
		"from the future":        {w.request(alice, at(time.Hour)), verification.ErrTime},
		"for another authority":  {w.request(alice, func(a *verification.Ask) { a.Authority = provider(t, atlanta) }), verification.ErrOtherAuthority},
		"in another's name":      {w.request(account{bob.user, alice.key, alice.cert}, nil), verification.ErrOtherUser},
		"with another's key":     {w.request(account{bob.user, alice.key, bob.cert}, nil), verification.ErrSignature},
		"with a bad certificate": {w.request(account{alice.user, alice.key, []byte("x")}, nil), verification.ErrCertificate},
	} {
		if _, err := x.q.Verify(provider(t, chicago), w.anchors, now); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", what, err, x.want)
		}
	}
	tel := must[discovery.SII](t)(discovery.ParseSII("tel:+16505551000"))
	handle := must[discovery.SII](t)(discovery.ParseSII("handle:alice"))
	for what, x := range map[string]verification.Ask{
		"a text message to a mail address": {Identifier: w.mail, Method: discovery.MethodSMS},
		"mail to a number":                 {Identifier: tel, Method: discovery.MethodMail},
		"mail to a handle":                 {Identifier: handle, Method: discovery.MethodMail},
	} {
		x.Authority, x.User, x.At = provider(t, chicago), alice.user, now
		if _, err := verification.NewRequest(alice.key, alice.cert, x); !errors.Is(err, verification.ErrMethod) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := verification.MethodFor(handle.Kind()); !errors.Is(err, verification.ErrMethod) {
		t.Errorf("a method for handles: %v", err)
	}
	if one, other := w.request(alice, nil), w.request(alice, nil); one.ID() == other.ID() {
		t.Error("two requests have one id")
	}
}

// TestChallenge: a code counts five attempts and fifteen minutes, for the key that has asked.
func TestChallenge(t *testing.T) {
	w := newWorld(t)
	for _, a := range w.users {
		asked := must[*verification.Asked](t)(w.request(a, nil).Verify(provider(t, chicago), w.anchors, now))
		stored := func(c *verification.Challenge) *verification.Challenge {
			t.Helper()
			out := must[*verification.Challenge](t)(verification.ParseChallenge(c.Bytes()))
			if !bytes.Equal(out.Bytes(), c.Bytes()) {
				t.Error("another encoding")
			}
			return out
		}
		c := must[*verification.Challenge](t)(verification.NewChallenge(asked, now))
		answer := func(code string) *verification.Answer {
			t.Helper()
			return must[*verification.Answer](t)(verification.NewAnswer(a.key, c.ID(), code))
		}
		if err := c.Try(answer("00000000"), now); !errors.Is(err, verification.ErrCode) {
			t.Errorf("before a code was made: %v", err)
		}
		c = must[*verification.Challenge](t)(verification.NewChallenge(asked, now))
		first := must[string](t)(c.NextCode(now))
		code := must[string](t)(c.NextCode(now))
		if strings.Contains(string(c.Bytes()), code) {
			t.Error("the code is stored as it is")
		}
		c.SentNow()
		c = stored(c)
		if !c.Sent() || c.Identifier() != w.mail || c.User() != a.user {
			t.Errorf("%+v", c)
		}
		wrong := "00000000"
		if wrong == code {
			wrong = "00000001"
		}
		if first != code { // else the first is as good
			if err := c.Try(answer(first), now); !errors.Is(err, verification.ErrCode) {
				t.Errorf("a code that was replaced: %v", err)
			}
		} else if err := c.Try(answer(wrong), now); !errors.Is(err, verification.ErrCode) {
			t.Error(err)
		}
		// Somebody else has no attempts to spend.
		eve := must[*verification.Answer](t)(verification.NewAnswer(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32)), c.ID(), code))
		for range 2 * verification.MaxAttempts {
			if err := c.Try(eve, now); !errors.Is(err, verification.ErrSignature) {
				t.Fatalf("another key with the right code: %v", err)
			}
		}
		for range verification.MaxAttempts - 2 {
			if err := c.Try(answer(wrong), now); !errors.Is(err, verification.ErrCode) {
				t.Fatal(err)
			}
		}
		if err := stored(c).Try(answer(code), c.Expires()); !errors.Is(err, verification.ErrExpired) {
			t.Errorf("the right code too late: %v", err)
		}
		if err := stored(c).Try(answer(code[:4]+" - "+code[4:]), c.Expires().Add(-time.Second)); err != nil {
			t.Errorf("the right code at the last moment, as the fifth: %v", err)
		}
		if err := c.Try(answer(wrong), now); !errors.Is(err, verification.ErrCode) {
			t.Fatal(err)
		}
		if err := stored(c).Try(answer(code), now); !errors.Is(err, verification.ErrSpent) {
			t.Errorf("the right code as the sixth: %v", err)
		}
		if _, err := c.NextCode(now); !errors.Is(err, verification.ErrSpent) {
			t.Errorf("one more code after all attempts: %v", err)
		}

		// Sent again three times at most, and not too late.
		c = must[*verification.Challenge](t)(verification.NewChallenge(asked, now))
		for range verification.MaxSends {
			must[string](t)(c.NextCode(now))
		}
		if _, err := c.NextCode(now); !errors.Is(err, verification.ErrSpent) {
			t.Errorf("a fourth code: %v", err)
		}
		if _, err := must[*verification.Challenge](t)(verification.NewChallenge(asked, now)).NextCode(now.Add(verification.CodeLifetime)); !errors.Is(err, verification.ErrExpired) {
			t.Errorf("a code after the end: %v", err)
		}

		// Once it is verified, the identifier is gone and the answer stays the same.
		c.Done(w.statement(a, nil))
		c = stored(c)
		if !c.Identifier().IsZero() || strings.Contains(string(c.Bytes()), "mail.example") {
			t.Error("the identifier is kept")
		}
		if err := c.Try(answer(wrong), now.Add(time.Hour)); err != nil || !bytes.Equal(c.Statement(), w.statement(a, nil).Bytes()) && len(c.Statement()) == 0 {
			t.Errorf("the same again: %v", err)
		}
	}
}

// TestCodes: codes have eight digits, and none is likelier than another as far as their first
// digits show.
func TestCodes(t *testing.T) {
	w := newWorld(t)
	asked := must[*verification.Asked](t)(w.request(w.users[0], nil).Verify(provider(t, chicago), w.anchors, now))
	const n = 20_000
	var first, last [10]int
	for range n {
		c := must[*verification.Challenge](t)(verification.NewChallenge(asked, now))
		code := must[string](t)(c.NextCode(now))
		if len(code) != verification.CodeDigits || strings.Trim(code, "0123456789") != "" {
			t.Fatalf("code %q", code)
		}
		first[code[0]-'0']++
		last[code[7]-'0']++
	}
	for d := range 10 { // 2000 each, with a deviation of 42: ten times that never happens
		if first[d] < 1580 || first[d] > 2420 || last[d] < 1580 || last[d] > 2420 {
			t.Errorf("digit %d is the first of %d and the last of %d of %d codes", d, first[d], last[d], n)
		}
	}
	for _, bad := range []string{"", "1234567", "123456789", "1234567a", "１２３４５６７８"} {
		if _, err := verification.NewAnswer(w.users[0].key, verification.ID{}, bad); !errors.Is(err, verification.ErrCode) {
			t.Errorf("code %q: %v", bad, err)
		}
	}
}

// TestLongest: the longest of each fits its limit.
func TestLongest(t *testing.T) {
	w := newWorld(t)
	label := strings.Repeat("a", 63)
	domain := strings.Join([]string{label, label, label, strings.Repeat("b", 61)}, ".")
	name := "mimi://" + domain + "/u/" + strings.Repeat("u", uri.MaxSegment)
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	a := account{must[uri.User](t)(uri.ParseUser(name)), key, bytes.Repeat([]byte{1}, 4<<10)}
	st := must[*verification.Statement](t)(verification.Sign(key, w.facts(a, func(f *verification.Facts) { f.Authority = provider(t, domain) })))
	if n := len(st.Bytes()); n > verification.MaxStatement {
		t.Errorf("statement of %d bytes", n)
	}
	long := must[discovery.SII](t)(discovery.ParseSII("mailto:" + strings.Repeat("l", 64) + "@" + domain))
	w.request(a, func(q *verification.Ask) { q.Identifier, q.Authority = long, provider(t, domain) })
	w.account(w.users[0].user.String(), key)
	terms := discovery.Terms{User: a.user, Method: discovery.MethodMail, Issued: now, Expires: now.Add(time.Hour), Statement: bytes.Repeat([]byte{1}, discovery.MaxStatement)}
	for i := range discovery.MaxTags {
		terms.Tags = append(terms.Tags, strings.Repeat(string(rune('a'+i)), discovery.MaxWord))
	}
	if _, err := discovery.Sign(key, a.cert, w.secret, terms); err != nil {
		t.Errorf("the longest claim: %v", err)
	}
	terms.Statement = append(terms.Statement, 1)
	if _, err := discovery.Sign(key, a.cert, w.secret, terms); !errors.Is(err, presentation.ErrTooLarge) {
		t.Errorf("a longer one: %v", err)
	}
}

// Fuzz: nothing that is parsed panics, and what is accepted has one encoding.
func FuzzParse(f *testing.F) {
	w := newWorld(f)
	a := w.users[0]
	q := w.request(a, nil)
	asked, err := q.Verify(provider(f, chicago), w.anchors, now)
	if err != nil {
		f.Fatal(err)
	}
	c, err := verification.NewChallenge(asked, now)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(w.statement(a, nil).Bytes())
	f.Add(q.Bytes())
	f.Add(c.Bytes())
	answer, err := verification.NewAnswer(a.key, q.ID(), "12345678")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(answer.Bytes())
	c.Done(w.statement(a, nil))
	f.Add(c.Bytes())
	v := w.claim(a, w.statement(a, nil).Bytes(), discovery.MethodMail)
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := verification.Parse(b); err == nil {
			s.Verify(v, w.anchors, now)
			same(t, "statement", s.Bytes(), b)
		}
		if q, err := verification.ParseRequest(b); err == nil {
			q.Verify(provider(t, chicago), w.anchors, now)
			same(t, "request", q.Bytes(), b)
		}
		if a, err := verification.ParseAnswer(b); err == nil {
			c.Try(a, now)
			same(t, "answer", a.Bytes(), b)
		}
		if c, err := verification.ParseChallenge(b); err == nil {
			c.Try(answer, now)
			if _, err := verification.ParseChallenge(c.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s has another encoding", what)
	}
}
