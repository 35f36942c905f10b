package room

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// This file is the join link: whoever holds one may come into a room by itself, in the role
// that it is for. The room names its links in the component join_links, and everybody who
// judges an external commit judges from there alone whether it may use one.
//
// A GroupContext is read by all members and all providers that follow, and a commit, too. So
// the component holds no code that would let them in, or let in whom they tell: it holds a
// public key, and the link holds the private one. Who joins signs that it does, as this user in
// this epoch, and that is worth nothing to anybody else. The draft has the link itself in the
// GroupContext (room-policy, JoinLinkPolicy), and leaves open what the code in it is; so our
// layout is ours, under its component id. Its join_link_policy, 0x0029, is not used: who may
// make and take away links is said by the capabilities canCreateJoinCode and
// canDeleteJoinCode, and whether links count at all by canUseJoinCode of role 0.

// JoinLinksComponent is join_links' id in the GroupContext (room-policy section 10.1, the
// suggested value).
const JoinLinksComponent mls.ComponentID = 0x002a

// MaxJoinLinks is how many links a room has at one time.
const MaxJoinLinks = 64

// ErrJoinLink: a link, or a use of one, that does not decode or does not count. It is an
// ErrPolicy.
var ErrJoinLink = fmt.Errorf("join link: %w", ErrPolicy)

// JoinLink is what the room knows of a link.
//
//	struct {
//	    opaque key[32];           /* Ed25519; the link holds the private half */
//	    uint32 role_index;        /* of who joins by it */
//	    uint64 expires;           /* ms since 1970, by the hub's time; 0: never */
//	    optional<uint32> uses;    /* how often it can still be used, at least 1; absent: any number */
//	} JoinLink;
type JoinLink struct {
	Key     [ed25519.PublicKeySize]byte
	Role    policy.Role
	Expires uint64
	Uses    policy.Bound
}

func (l *JoinLink) append(b []byte) []byte {
	b = presentation.AppendU32(append(b, l.Key[:]...), uint32(l.Role))
	b = presentation.AppendOptional(presentation.AppendU64(b, l.Expires), l.Uses.Set)
	if l.Uses.Set {
		b = presentation.AppendU32(b, l.Uses.N)
	}
	return b
}

func (l *JoinLink) read(r *presentation.Reader) {
	copy(l.Key[:], r.Fixed(len(l.Key)))
	l.Role, l.Expires = policy.Role(r.U32()), r.U64()
	if l.Uses.Set = r.Optional(); l.Uses.Set {
		if l.Uses.N = r.U32(); l.Uses.N == 0 && r.Err() == nil {
			r.Fail(ErrJoinLink, "a link that can be used 0 times")
		}
	}
}

// JoinLinks is the component join_links.
//
//	struct { uint8 version = 1; JoinLink links<V>; } JoinLinks;
//
// No two have one key. A room without the component has no links.
type JoinLinks struct {
	Links []JoinLink
}

// ParseJoinLinks reads the component. Error: ErrJoinLink.
func ParseJoinLinks(b []byte) (*JoinLinks, error) {
	r := presentation.NewReader(b)
	readVersion(r, "join_links")
	x := &JoinLinks{Links: readLinks(r)}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading join_links: %w: %w", err, ErrJoinLink)
	}
	return x, x.check()
}

// Append appends the component's encoding.
func (x *JoinLinks) Append(b []byte) []byte { return appendLinks(append(b, Version), x.Links) }

func (x *JoinLinks) check() error {
	for i := range x.Links {
		if x.find(x.Links[i].Key) < i {
			return fmt.Errorf("one key twice: %w", ErrJoinLink)
		}
	}
	return nil
}

func (x *JoinLinks) find(key [ed25519.PublicKeySize]byte) int {
	return slices.IndexFunc(x.Links, func(l JoinLink) bool { return l.Key == key })
}

func readLinks(r *presentation.Reader) (out []JoinLink) {
	r.List(MaxJoinLinks, func() {
		var l JoinLink
		l.read(r)
		out = append(out, l)
	})
	return out
}

func appendLinks(b []byte, list []JoinLink) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for i := range list {
			b = list[i].append(b)
		}
		return b
	})
}

// JoinLinksIn returns the links among a room's components. Error: ErrJoinLink.
func JoinLinksIn(d mls.Dictionary) (*JoinLinks, error) {
	data, ok := d[JoinLinksComponent]
	if !ok {
		return new(JoinLinks), nil
	}
	return ParseJoinLinks(data)
}

// JoinLinksUpdate changes the component: members make and revoke links, who joins uses one.
//
//	struct { opaque key[32]; opaque signature[64]; } JoinLinkUse;
//	struct {
//	    uint8 version = 1;
//	    uint8 used;                        /* no(0), yes(1) */
//	    select (used) {
//	        case no:  opaque revoked[32]<V>; JoinLink made<V>;
//	        case yes: JoinLinkUse use;
//	    };
//	} JoinLinksUpdate;
//
// The signature is the link's, Ed25519, over
//
//	struct {
//	    opaque label<V> = "mimid join link use v1";
//	    opaque group_id<V>; uint64 epoch; opaque user<V>;  /* URI of who joins */
//	    opaque key[32];
//	} JoinLinkUseTBS;
type JoinLinksUpdate struct {
	Revoked [][ed25519.PublicKeySize]byte
	Made    []JoinLink
	Use     *JoinLinkUse // alone
}

// JoinLinkUse is the use of a link by who joins.
type JoinLinkUse struct {
	Key       [ed25519.PublicKeySize]byte
	Signature [ed25519.SignatureSize]byte
}

const (
	useLabel = "mimid join link use v1"
	askLabel = "mimid join link ask v1"
)

func useTBS(key [ed25519.PublicKeySize]byte, groupID []byte, epoch uint64, user uri.User) []byte {
	b := presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(useLabel)), groupID)
	b = presentation.AppendOpaque(presentation.AppendU64(b, epoch), []byte(user.String()))
	return append(b, key[:]...)
}

// Append appends the encoding.
func (u *JoinLinksUpdate) Append(b []byte) []byte {
	b = presentation.AppendOptional(append(b, Version), u.Use != nil)
	if u.Use != nil {
		return append(append(b, u.Use.Key[:]...), u.Use.Signature[:]...)
	}
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, k := range u.Revoked {
			b = append(b, k[:]...)
		}
		return b
	})
	return appendLinks(b, u.Made)
}

// ParseJoinLinksUpdate reads what Append has written. Error: ErrJoinLink.
func ParseJoinLinksUpdate(b []byte) (*JoinLinksUpdate, error) {
	r := presentation.NewReader(b)
	readVersion(r, "an update of join_links")
	u := new(JoinLinksUpdate)
	if r.Optional() {
		u.Use = new(JoinLinkUse)
		copy(u.Use.Key[:], r.Fixed(len(u.Use.Key)))
		copy(u.Use.Signature[:], r.Fixed(len(u.Use.Signature)))
	} else {
		r.List(MaxJoinLinks, func() {
			var k [ed25519.PublicKeySize]byte
			copy(k[:], r.Fixed(len(k)))
			u.Revoked = append(u.Revoked, k)
		})
		u.Made = readLinks(r)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading an update of join_links: %w: %w", err, ErrJoinLink)
	}
	return u, nil
}

// apply returns the component after an update. What is used the last time is gone.
func (x *JoinLinks) apply(u *JoinLinksUpdate) (*JoinLinks, error) {
	out := &JoinLinks{Links: slices.Clone(x.Links)}
	if u.Use != nil {
		i := out.find(u.Use.Key)
		if i < 0 {
			return nil, &LinkError{LinkUnknown}
		}
		if l := &out.Links[i]; l.Uses.Set {
			if l.Uses.N--; l.Uses.N == 0 {
				out.Links = slices.Delete(out.Links, i, i+1)
			}
		}
		return out, nil
	}
	for _, k := range u.Revoked {
		i := out.find(k)
		if i < 0 {
			return nil, fmt.Errorf("no such link to revoke: %w", ErrJoinLink)
		}
		out.Links = slices.Delete(out.Links, i, i+1)
	}
	out.Links = append(out.Links, u.Made...)
	if len(out.Links) > MaxJoinLinks {
		return nil, fmt.Errorf("%d links, at most %d: %w", len(out.Links), MaxJoinLinks, ErrJoinLink)
	}
	return out, out.check()
}

// joinLinks is the component's mls.ComponentLogic.
func joinLinks(present []byte, updates [][]byte) ([]byte, error) {
	if len(updates) > 1 {
		return nil, fmt.Errorf("join_links is changed %d times in one commit: %w", len(updates), ErrPolicy)
	}
	now := new(JoinLinks)
	var err error
	if present != nil {
		if now, err = ParseJoinLinks(present); err != nil {
			return nil, err
		}
	}
	u, err := ParseJoinLinksUpdate(updates[0])
	if err != nil {
		return nil, err
	}
	next, err := now.apply(u)
	if err != nil {
		return nil, err
	}
	return next.Append(nil), nil
}

// Usable returns a link that counts at a time, in ms since 1970. Error: *LinkError, LinkExpired
// or LinkUnknown.
func (x *JoinLinks) Usable(key [ed25519.PublicKeySize]byte, at uint64) (*JoinLink, error) {
	i := x.find(key)
	if i < 0 {
		return nil, &LinkError{LinkUnknown}
	}
	if l := &x.Links[i]; !l.expired(at) {
		return l, nil
	}
	return nil, &LinkError{LinkExpired}
}

func (l *JoinLink) expired(at uint64) bool { return l.Expires != 0 && at >= l.Expires }

// linkUsed returns the use of a link in an external commit, nil if there is none.
func (j *judgement) linkUsed() (*JoinLinkUse, error) {
	for _, p := range j.c.Proposals {
		a := p.Proposal.AppData
		if p.Proposal.Type != mls.ProposalAppDataUpdate || a.Component != JoinLinksComponent || a.Op != mls.AppDataSet {
			continue
		}
		u, err := ParseJoinLinksUpdate(a.Update)
		if err != nil {
			return nil, err
		}
		return u.Use, nil
	}
	return nil, nil
}

// joinsBy judges who comes in by a link. That it is not on the list, so not banned, the caller
// has seen.
func (j *judgement) joinsBy(use *JoinLinkUse) error {
	if err := j.was.Rules.Need(policy.None, policy.UseJoinCode); err != nil {
		return err
	}
	links, err := JoinLinksIn(j.was.components)
	if err != nil {
		return err
	}
	l, err := links.Usable(use.Key, j.at)
	if err != nil {
		return err
	}
	ctx := j.g.Context()
	switch {
	case !ed25519.Verify(l.Key[:], useTBS(l.Key, ctx.GroupID, ctx.Epoch, j.joiner), use.Signature[:]):
		return fmt.Errorf("the link was not used by who holds it: %w", ErrJoinLink)
	case j.entryAs != l.Role:
		return fmt.Errorf("the link is for who is %s, not %s: %w", j.was.Rules.Name(l.Role), j.was.Rules.Name(j.entryAs), ErrJoinLink)
	case !j.was.Rules.Active(l.Role):
		return fmt.Errorf("nobody who is %s may have a device in this room: %w", j.was.Rules.Name(l.Role), ErrJoinLink)
	}
	return nil
}

// changesLinks judges an update of join_links: members make links for roles that they may
// give to whom they add. Of a use, external has judged everything.
func (j *judgement) changesLinks(p *mls.UsedProposal, user string, role policy.Role) error {
	deny := func(err error) error {
		return fmt.Errorf("%s changes the room's join links: %w: %w", user, err, ErrPolicy)
	}
	u, err := ParseJoinLinksUpdate(p.Proposal.AppData.Update)
	switch {
	case err != nil:
		return deny(err)
	case u.Use != nil && j.c.Kind == mls.ContentCommit && p.Sender.Type == mls.SenderNewMemberCommit && j.enters:
		return nil
	case u.Use != nil:
		return deny(errors.New("only who comes in by it uses a link"))
	case p.Sender.Type != mls.SenderMember || j.c.Kind != mls.ContentCommit || p.Sender != j.c.Sender:
		return deny(errors.New("who makes or revokes links commits that"))
	}
	if len(u.Revoked) > 0 {
		if err := j.was.Rules.Need(role, policy.DeleteJoinCode); err != nil {
			return deny(err)
		}
	}
	for _, l := range u.Made {
		if err := j.was.Rules.Need(role, policy.CreateJoinCode); err != nil {
			return deny(err)
		}
		if err := j.was.Rules.SetRole(role, false, policy.None, l.Role); err != nil {
			return deny(err)
		}
		if !j.was.Rules.Active(l.Role) {
			return deny(fmt.Errorf("nobody who is %s may have a device in this room", j.was.Rules.Name(l.Role)))
		}
		if l.Expires > 0 && l.Expires <= j.at {
			return deny(errors.New("a link that has expired already"))
		}
	}
	return nil
}

// HeldLink is a link as who may use it holds it: the room, and the private key. It is
// printed without that.
type HeldLink struct {
	Room uri.Room
	// Pseudonymous: the room is. Who holds the link has to know that before it asks for
	// anything, as it must not ask under its name then.
	Pseudonymous bool
	key          ed25519.PrivateKey
	mark         mark
}

// mark is an entry of the room's log as who made the link has it. It tells the room from
// another one that is shown under its name, whoever answers for it: each entry names the one
// before by its hash.
type mark struct {
	seq  uint64
	hash [markHash]byte // the beginning of the entry's
	set  bool
}

const markHash = 16

// Pin has the link tell the room by the log as it stands, which is not empty.
func (h *HeldLink) Pin(at Position) {
	h.mark = mark{seq: at.Next - 1, set: at.Next > 0}
	copy(h.mark.hash[:], at.Last[:])
}

// Pinned says whether the link tells its room from another one that is shown under its name.
func (h *HeldLink) Pinned() bool { return h.mark.set }

// Judge says whether a room whose log has this entry is the one that the link was made for: an
// error if it is not, which is ErrWrongRoom. A link without a mark, and other entries than the
// marked one, say nothing. Whoever comes in by the link does so behind the marked entry, so
// entered, that this is the entry that lets it in, is an error before that.
func (h *HeldLink) Judge(e *Entry, entered bool) error {
	m := &h.mark
	switch hash := e.Hash(); {
	case !m.set:
	case e.Seq == m.seq && !bytes.Equal(hash[:markHash], m.hash[:]):
		return fmt.Errorf("entry %d of %s is another one than when the link was made: %w", e.Seq, h.Room, ErrWrongRoom)
	case entered && e.Seq <= m.seq:
		return fmt.Errorf("the log of %s had %d entries when the link was made and has fewer now: %w", h.Room, m.seq+1, ErrWrongRoom)
	}
	return nil
}

// NewLink makes a link, and what the room is to know of it but for its terms.
func NewLink(u uri.Room) (*HeldLink, JoinLink) {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	h := &HeldLink{Room: u, key: ed25519.NewKeyFromSeed(seed)}
	return h, JoinLink{Key: h.Key()}
}

// Key names the link in the component.
func (h *HeldLink) Key() (k [ed25519.PublicKeySize]byte) {
	copy(k[:], h.key.Public().(ed25519.PublicKey))
	return k
}

// What stands between a room's URI and a link's code. A pseudonymous room has another word, which
// programs that do not know such rooms take for no link, rather than ask under a name.
const (
	linkQuery       = "?join="
	maskedLinkQuery = "?pseudonymous="
)

func (h *HeldLink) query() string {
	if h.Pseudonymous {
		return maskedLinkQuery
	}
	return linkQuery
}

// Reveal returns the link as people pass it on: the room's URI, "?join=", or "?pseudonymous=" if the
// room is, and the seed of the private key in base64url without padding; if it is pinned, a dot, and in the same form 8 octets
// with the number of an entry of the log and the first 16 of its hash. Whoever sees it may come
// in.
func (h *HeldLink) Reveal() string {
	out := h.Room.String() + h.query() + base64.RawURLEncoding.EncodeToString(h.key.Seed())
	if h.mark.set {
		out += "." + base64.RawURLEncoding.EncodeToString(append(presentation.AppendU64(nil, h.mark.seq), h.mark.hash[:]...))
	}
	return out
}

// String returns the room only.
func (h *HeldLink) String() string { return h.Room.String() + h.query() + "..." }

// Format implements fmt.Formatter; no verb prints the key.
func (h *HeldLink) Format(s fmt.State, _ rune) { fmt.Fprint(s, h.String()) }

// ParseLink reads what Reveal has written. Error: ErrJoinLink, which holds nothing of the code.
func ParseLink(s string) (*HeldLink, error) {
	name, code, found := strings.Cut(s, linkQuery)
	masked := false
	if !found {
		name, code, masked = strings.Cut(s, maskedLinkQuery)
		found = masked
	}
	u, err := uri.ParseRoom(name)
	if !found || err != nil {
		return nil, fmt.Errorf("not of the form mimi://atlanta.example/r/clubhouse%sCODE: %w", linkQuery, ErrJoinLink)
	}
	code, pin, pinned := strings.Cut(code, ".")
	seed, err := base64.RawURLEncoding.Strict().DecodeString(code)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("the code of a link to %s is mistyped or cut: %w", u, ErrJoinLink)
	}
	h := &HeldLink{Room: u, Pseudonymous: masked, key: ed25519.NewKeyFromSeed(seed), mark: mark{set: pinned}}
	if pinned {
		b, err := base64.RawURLEncoding.Strict().DecodeString(pin)
		if err != nil || len(b) != 8+markHash {
			return nil, fmt.Errorf("the end of a link to %s is mistyped or cut: %w", u, ErrJoinLink)
		}
		h.mark.seq = binary.BigEndian.Uint64(b)
		copy(h.mark.hash[:], b[8:])
	}
	return h, nil
}

// Use makes the proposal by which a user comes in: for its external commit in an epoch of the
// room's group.
func (h *HeldLink) Use(groupID []byte, epoch uint64, user uri.User) *mls.Proposal {
	x := &JoinLinkUse{Key: h.Key()}
	copy(x.Signature[:], ed25519.Sign(h.key, useTBS(x.Key, groupID, epoch, user)))
	return updateOf(JoinLinksComponent, (&JoinLinksUpdate{Use: x}).Append(nil))
}

// Code is the joiningCode of a GroupInfoRequest (MIMI section 5.6): the key, and a signature
// that binds it to the keys of the request, so that nobody who sees it can ask with it.
//
//	struct { opaque key[32]; opaque signature[64]; } JoiningCode;
//	struct {
//	    opaque label<V> = "mimid join link ask v1";
//	    opaque room<V>; opaque signature_key<V>; opaque group_info_key<V>;
//	} JoiningCodeTBS;
func (h *HeldLink) Code(signatureKey, groupInfoKey []byte) []byte {
	k := h.Key()
	return append(k[:], ed25519.Sign(h.key, askTBS(h.Room, signatureKey, groupInfoKey))...)
}

func askTBS(u uri.Room, signatureKey, groupInfoKey []byte) []byte {
	b := presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(askLabel)), []byte(u.String()))
	return presentation.AppendOpaque(presentation.AppendOpaque(b, signatureKey), groupInfoKey)
}

// ChangeLinks makes the proposal that makes and revokes links.
func ChangeLinks(made []JoinLink, revoked ...[ed25519.PublicKeySize]byte) *mls.Proposal {
	return updateOf(JoinLinksComponent, (&JoinLinksUpdate{Made: made, Revoked: revoked}).Append(nil))
}
