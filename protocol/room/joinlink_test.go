package room_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// link has a device make a link, on terms.
func (d *device) link(edit func(*room.JoinLink)) (*room.HeldLink, error) {
	h, l := room.NewLink(d.w.hub.URI())
	l.Role = policy.Member
	if edit != nil {
		edit(&l)
	}
	return h, d.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks([]room.JoinLink{l})}})
}

// joinBy enters by a link that was used by whom and when use says.
func (d *device) joinBy(as policy.Role, use *mls.Proposal, more ...*mls.Proposal) (err error) {
	w := d.w
	o := mls.ExternalOptions{LeafParams: d.leaf, Tree: w.hub.Group().Tree(), Proposals: append(more, use)}
	if as != policy.None {
		o.Proposals = append(o.Proposals, must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: d.user, Role: as}}, nil))(w.t))
	}
	// An honest client sees by itself that a link is gone.
	if _, err := mls.ExternalCommit(w.hub.GroupInfo(), o, w.config(), w.now); err != nil {
		return err
	}
	return d.enter(o)
}

func (d *device) use(h *room.HeldLink) *mls.Proposal {
	return h.Use(d.w.hub.Group().GroupID(), d.w.hub.Group().Epoch(), d.user)
}

// uses is what the room knows of its links.
func (w *world) links() (out []string) {
	w.t.Helper()
	d := must(w.hub.Group().Context().Extensions.Dictionary(room.BodyLimits().Limits))(w.t)
	for _, l := range must(room.JoinLinksIn(d))(w.t).Links {
		s := fmt.Sprintf("role %d", l.Role)
		if l.Uses.Set {
			s += fmt.Sprintf(", %d left", l.Uses.N)
		}
		out = append(out, s)
	}
	return out
}

// A link lets in who holds it, as what it is for, as often as it says, until it expires or is
// revoked; judged at hub, follower and members from the component alone.
func TestJoinLinks(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone"), w.device("carol@chicago.example", "phone")
	dan, eve := w.device("dan@biloxi.example", "phone"), w.device("eve@chicago.example", "phone")
	w.begin(alice)

	// Once: consumed by the very commit.
	once, err := alice.link(func(l *room.JoinLink) { l.Uses = policy.AtMost(1) })
	if err != nil {
		t.Fatal(err)
	}
	says(t, "without it", bob.join(policy.Member), "nobody joins this room without being added")
	says(t, "as more than it is for", bob.joinBy(policy.Admin, bob.use(once)), "the link is for who is member, not admin")
	says(t, "as nothing", bob.joinBy(policy.None, bob.use(once)), "the link is for who is member")
	says(t, "what another has said with it", bob.joinBy(policy.Member, carol.use(once)), "not used by who holds it")
	says(t, "what was said in another epoch", bob.joinBy(policy.Member, once.Use(w.hub.Group().GroupID(), w.hub.Group().Epoch()-1, bob.user)), "not used by who holds it")
	says(t, "what was said in another room", bob.joinBy(policy.Member, once.Use([]byte("mimi://atlanta.example/g/other"), w.hub.Group().Epoch(), bob.user)), "not used by who holds it")
	forged, _ := room.NewLink(w.hub.URI())
	says(t, "one that the room does not know", bob.joinBy(policy.Member, bob.use(forged)), "no such link")
	if err := errors.Join(bob.joinBy(policy.Member, bob.use(once)), bob.send("here I am"), alice.send("welcome")); err != nil {
		t.Fatal(err)
	}
	if w.hub.Role(bob.user) != policy.Member || w.follower.Role(bob.user) != policy.Member || len(w.links()) != 0 {
		t.Errorf("bob is %d, links %v", w.hub.Role(bob.user), w.links())
	}
	says(t, "once more", carol.joinBy(policy.Member, carol.use(once)), "no such link")

	// Twice, until tomorrow, by a restarted hub.
	twice, err := alice.link(func(l *room.JoinLink) {
		l.Uses, l.Expires = policy.AtMost(2), uint64(w.now.Add(24*time.Hour).UnixMilli())
	})
	if err != nil {
		t.Fatal(err)
	}
	w.reload(map[string][]byte{})
	if err := carol.joinBy(policy.Member, carol.use(twice)); err != nil {
		t.Fatal(err)
	}
	if got := w.links(); len(got) != 1 || got[0] != "role 2, 1 left" {
		t.Errorf("links %v", got)
	}
	w.now = w.now.Add(24 * time.Hour)
	says(t, "expired", dan.joinBy(policy.Member, dan.use(twice)), "the link has expired")

	// Any number of times, until revoked.
	many, err := alice.link(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := dan.joinBy(policy.Member, dan.use(many)); err != nil {
		t.Fatal(err)
	}
	says(t, "somebody who is in, uses it", bob.commit(mls.CommitOptions{Proposals: []*mls.Proposal{bob.use(many)}}), "only who comes in by it uses a link")
	says(t, "a member revokes it", bob.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks(nil, many.Key())}}), "the role member lacks canDeleteJoinCode")
	if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{room.ChangeLinks(nil, many.Key())}}); err != nil {
		t.Fatal(err)
	}
	says(t, "revoked", eve.joinBy(policy.Member, eve.use(many)), "no such link")

	// Who may make one, and for what.
	for why, c := range map[string]struct {
		by   *device
		edit func(*room.JoinLink)
		want string
	}{
		"a member":        {bob, nil, "the role member lacks canCreateJoinCode"},
		"for the banned":  {alice, func(l *room.JoinLink) { l.Role = policy.Banned }, "may have a device"},
		"for no role":     {alice, func(l *room.JoinLink) { l.Role = 77 }, "is no change between two roles"},
		"expired already": {alice, func(l *room.JoinLink) { l.Expires = uint64(w.now.UnixMilli()) }, "has expired already"},
	} {
		_, err := c.by.link(c.edit)
		says(t, why, err, c.want)
	}
	if err := alice.commit(mls.CommitOptions{Proposals: []*mls.Proposal{must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: bob.user, Role: policy.Moderator}}, nil))(t)}}); err != nil {
		t.Fatal(err)
	}
	_, err = bob.link(func(l *room.JoinLink) { l.Role = policy.Admin })
	says(t, "a moderator, for administrators", err, "may not make admin of none")

	// Who is banned has no use for a link.
	more, err := bob.link(nil)
	if err != nil {
		t.Fatal(err)
	}
	ban := must(room.UpdateParticipants(alice.group.Public().Context(), []room.Participant{{User: carol.user, Role: policy.Banned}}, nil))(t)
	if err := alice.commit(mls.CommitOptions{Remove: w.hub.Roster().Leaves(carol.user), Proposals: []*mls.Proposal{ban}}); err != nil {
		t.Fatal(err)
	}
	says(t, "banned", carol.joinBy(policy.None, carol.use(more)), "joins by itself")
	says(t, "banned, with more in the same commit", eve.joinBy(policy.Member, eve.use(more),
		must(room.UpdateParticipants(w.hub.Group().Context(), []room.Participant{{User: carol.user, Role: policy.Member}}, nil))(t)), "")
}

// What a hub asks of a joiningCode before it shows the GroupInfo (MIMI section 5.6): that the
// link counts, and was held by who asks.
func TestJoiningCode(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.device("alice@atlanta.example", "phone"), w.device("bob@biloxi.example", "phone")
	w.begin(alice)
	h, err := alice.link(func(l *room.JoinLink) { l.Expires = uint64(w.now.Add(time.Hour).UnixMilli()) })
	if err != nil {
		t.Fatal(err)
	}
	now := uint64(w.now.UnixMilli())
	code := h.Code([]byte("signature key"), []byte("hpke key"))
	if err := w.hub.MayAsk(bob.user, code, []byte("signature key"), []byte("hpke key"), now); err != nil {
		t.Fatal(err)
	}
	other, _ := room.NewLink(w.hub.URI())
	for why, err := range map[string]error{
		"of another's request": w.hub.MayAsk(bob.user, code, []byte("another key"), []byte("hpke key"), now),
		"for another's key":    w.hub.MayAsk(bob.user, code, []byte("signature key"), []byte("another key"), now),
		"expired":              w.hub.MayAsk(bob.user, code, []byte("signature key"), []byte("hpke key"), now+3_600_000),
		"of no link":           w.hub.MayAsk(bob.user, other.Code([]byte("signature key"), []byte("hpke key")), []byte("signature key"), []byte("hpke key"), now),
		"empty":                w.hub.MayAsk(bob.user, nil, []byte("signature key"), []byte("hpke key"), now),
		"of who is in":         w.hub.MayAsk(alice.user, code, []byte("signature key"), []byte("hpke key"), now),
	} {
		if !errors.Is(err, room.ErrJoinLink) {
			t.Errorf("%s: %v", why, err)
		}
	}
}

// A link is passed on as text; nothing else that is printed has its code.
func TestLinkText(t *testing.T) {
	u := must(uri.ParseRoom("mimi://atlanta.example/r/clubhouse"))(t)
	h, l := room.NewLink(u)
	text := h.Reveal()
	got, err := room.ParseLink(text)
	if err != nil || got.Room != u || got.Key() != l.Key || got.Reveal() != text {
		t.Fatal(got, err)
	}
	code := text[strings.Index(text, "=")+1:]
	for _, s := range []string{fmt.Sprint(h), fmt.Sprintf("%+v %#v %s %x", h, h, h, h), h.String()} {
		if strings.Contains(s, code) || !strings.Contains(s, "clubhouse") {
			t.Errorf("printed as %q", s)
		}
	}
	at := room.Position{Next: 7, Last: [32]byte{1, 2, 3}}
	h.Pin(at)
	pinned := h.Reveal()
	if got, err := room.ParseLink(pinned); err != nil || got.Reveal() != pinned || got.Key() != l.Key || !strings.HasPrefix(pinned, text+".") {
		t.Errorf("pinned: %v, %v", got, err)
	}
	for _, bad := range []string{"", u.String(), text[:len(text)-1], text + "A", text + "=", text + ".", pinned[:len(pinned)-1], pinned + "A", pinned + ".A", strings.Replace(text, "/r/", "/u/", 1), u.String() + "?join=" + code[:20]} {
		if _, err := room.ParseLink(bad); !errors.Is(err, room.ErrJoinLink) || strings.Contains(err.Error(), code[:10]) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestLinkPinned: a pinned link tells the room that it was made for from another log under the
// same name, at the entry that it names and nowhere else, and lets nobody in before that entry.
func TestLinkPinned(t *testing.T) {
	u := must(uri.ParseRoom("mimi://atlanta.example/r/clubhouse"))(t)
	entry := func(seq uint64, body string) *room.Entry {
		return &room.Entry{Room: room.IDOf([]byte(u.String())), Term: room.FirstTerm, Seq: seq, Kind: room.KindMessage, Body: []byte(body)}
	}
	bare, _ := room.NewLink(u)
	h := must(room.ParseLink(bare.Reveal()))(t)
	marked := entry(6, "ours")
	h.Pin(room.Position{Next: 7, Last: marked.Hash()})
	for what, x := range map[string]struct {
		h       *room.HeldLink
		e       *room.Entry
		entered bool
		ok      bool
	}{
		"the marked entry":                   {h, marked, false, true},
		"another in its place":               {h, entry(6, "theirs"), false, false},
		"one before it":                      {h, entry(5, "theirs"), false, true},
		"one behind it":                      {h, entry(7, "theirs"), false, true},
		"let in behind it":                   {h, entry(7, "in"), true, true},
		"let in by it":                       {h, marked, true, false},
		"let in before it":                   {h, entry(3, "in"), true, false},
		"another in its place, without mark": {bare, entry(6, "theirs"), false, true},
		"let in, without mark":               {bare, entry(0, "in"), true, true},
	} {
		if err := x.h.Judge(x.e, x.entered); (err == nil) != x.ok || err != nil && !errors.Is(err, room.ErrWrongRoom) {
			t.Errorf("%s: %v", what, err)
		}
	}
	empty, _ := room.NewLink(u)
	empty.Pin(room.Position{})
	if empty.Judge(entry(0, "x"), false) != nil || strings.Contains(empty.Reveal()[len(u.String()):], ".") {
		t.Error("a link is pinned to an empty log")
	}
}

func TestJoinLinksRoundTrip(t *testing.T) {
	draw := func(t *rapid.T) (out []room.JoinLink) {
		for i := range rapid.IntRange(0, 4).Draw(t, "links") {
			l := room.JoinLink{Role: policy.Role(rapid.Uint32().Draw(t, "role")), Expires: rapid.Uint64().Draw(t, "expires")}
			l.Key[0] = byte(i)
			if rapid.Bool().Draw(t, "bounded") {
				l.Uses = policy.AtMost(rapid.Uint32Range(1, 1<<32-1).Draw(t, "uses"))
			}
			out = append(out, l)
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		x := &room.JoinLinks{Links: draw(t)}
		b := x.Append(nil)
		if got, err := room.ParseJoinLinks(b); err != nil || !bytes.Equal(got.Append(nil), b) || len(got.Links) != len(x.Links) {
			t.Fatal(err)
		}
		u := &room.JoinLinksUpdate{Made: draw(t)}
		if rapid.Bool().Draw(t, "use") {
			u = &room.JoinLinksUpdate{Use: &room.JoinLinkUse{Key: [32]byte{1}, Signature: [64]byte{2}}}
		}
		b = u.Append(nil)
		if got, err := room.ParseJoinLinksUpdate(b); err != nil || !bytes.Equal(got.Append(nil), b) {
			t.Fatal(err)
		}
		if _, err := room.ParseJoinLinksUpdate(append(b, 0)); !errors.Is(err, room.ErrJoinLink) {
			t.Fatal(err)
		}
	})
	same := &room.JoinLinks{Links: make([]room.JoinLink, 2)}
	if _, err := room.ParseJoinLinks(same.Append(nil)); !errors.Is(err, room.ErrJoinLink) {
		t.Errorf("one key twice: %v", err)
	}
	spent := &room.JoinLinks{Links: []room.JoinLink{{Uses: policy.Bound{Set: true}}}}
	if _, err := room.ParseJoinLinks(spent.Append(nil)); !errors.Is(err, room.ErrJoinLink) {
		t.Errorf("no uses left: %v", err)
	}
	full := &room.JoinLinks{}
	for i := range room.MaxJoinLinks + 1 {
		full.Links = append(full.Links, room.JoinLink{Key: [32]byte{byte(i)}})
	}
	if _, err := room.ParseJoinLinks(full.Append(nil)); !errors.Is(err, room.ErrJoinLink) {
		t.Errorf("too many: %v", err)
	}
}

func FuzzJoinLinks(f *testing.F) {
	f.Add((&room.JoinLinks{Links: []room.JoinLink{{Role: 2, Uses: policy.AtMost(3)}}}).Append(nil))
	f.Add((&room.JoinLinksUpdate{Use: &room.JoinLinkUse{}}).Append(nil))
	f.Add([]byte{1, 0, 2, 0, 0}) // a key that is cut
	f.Add((&room.JoinLinksUpdate{Made: []room.JoinLink{{Role: 2, Expires: 9}}, Revoked: [][32]byte{{1}}}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := room.ParseJoinLinks(b); err == nil && !bytes.Equal(x.Append(nil), b) {
			t.Fatalf("component %x", b)
		}
		if u, err := room.ParseJoinLinksUpdate(b); err == nil && !bytes.Equal(u.Append(nil), b) {
			t.Fatalf("update %x", b)
		}
	})
}
