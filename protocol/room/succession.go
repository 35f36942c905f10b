package room

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// This file is the succession of power: who may take over a room whose administrators
// are gone, because their provider is gone for good or their accounts are deleted. It is
// a claim in the GroupContext, and every step is a commit of the person who takes it, so
// all see each step, verify it, and can speak against it:
//
//	claim     a successor says who is gone
//	endorse   other successors join it
//	end       whoever is said to be gone gives a sign of life; or the claimant gives up
//	take      after the room's patience, with a majority of the successors, the
//	          claimant makes itself an administrator
//
// Successors are those who take part, are not said to be gone, have a client in the
// group and the highest role there is among such: at most seven, those who have stood
// longest on the participant list. A commit by somebody who holds power, or is said to
// be gone, has to end the claim: while anybody of them lives nobody takes over.

// ErrSuccession: a succession component that does not decode, or a step that the room's
// rules do not allow (yet). It is an ErrPolicy.
var ErrSuccession = fmt.Errorf("not by the rules of succession: %w", ErrPolicy)

// SuccessionComponent is the component's id in the GroupContext's app_data_dictionary,
// from the private range.
const SuccessionComponent = 0x8002

// Bounds and the default of a room's patience.
const (
	DefaultPatience = 7 * 24 * time.Hour // of a room without the component
	MinPatience     = time.Second
	MaxPatience     = 366 * 24 * time.Hour

	maxGone       = 64
	maxSuccessors = 7
	claimSkew     = 5 * time.Minute // between a claim's time and that of its entry
)

// Succession is the component succession: how a room's power passes on, and who claims
// it at present.
//
//	struct {
//	    opaque claimant<V>;       /* user URI, 1 to 1024 bytes */
//	    uint64 claimed_at;        /* ms since 1970, within 5 minutes of the entry's */
//	    opaque gone<V><V>;        /* at most 64 domains and URIs of administrators, sorted */
//	    opaque endorsers<V><V>;   /* 1 to 7 user URIs, sorted: the claimant's, others' */
//	} Claim;
//	struct {
//	    uint8 version = 1;
//	    uint64 patience;          /* ms; 0: nobody succeeds */
//	    optional<Claim> claim;
//	} Succession;
//
// An update replaces the whole. A room without the component has DefaultPatience and no
// claim.
type Succession struct {
	Patience time.Duration // whole milliseconds; 0: nobody succeeds
	Claim    *Claim
}

// Claim is somebody's wish to succeed the administrators.
type Claim struct {
	Claimant  string   // user URI
	At        uint64   // ms since 1970
	Gone      []string // domains, and URIs of users who hold power
	Endorsers []string // user URIs
}

// ParseSuccession reads and checks the component. Error: ErrSuccession.
func ParseSuccession(b []byte) (*Succession, error) {
	s := new(Succession)
	r := presentation.NewReader(b)
	readVersion(r, "succession")
	patience := r.U64()
	if r.Optional() {
		s.Claim = new(Claim)
		s.Claim.read(r)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading succession: %w: %w", err, ErrSuccession)
	}
	if patience > uint64(MaxPatience/time.Millisecond) {
		return nil, fmt.Errorf("patience of %d ms: %w", patience, ErrSuccession)
	}
	s.Patience = time.Duration(patience) * time.Millisecond
	return s, s.Check()
}

func (c *Claim) read(r *presentation.Reader) {
	c.Claimant = string(r.Opaque())
	c.At = r.U64()
	r.List(maxGone, func() { c.Gone = append(c.Gone, string(r.Opaque())) })
	r.List(maxSuccessors, func() { c.Endorsers = append(c.Endorsers, string(r.Opaque())) })
}

// Append appends the component's encoding.
func (s *Succession) Append(b []byte) []byte {
	b = presentation.AppendU64(append(b, Version), uint64(s.Patience/time.Millisecond))
	if s.Claim == nil {
		return append(b, 0)
	}
	b = presentation.AppendOpaque(append(b, 1), []byte(s.Claim.Claimant))
	b = presentation.AppendU64(b, s.Claim.At)
	for _, list := range [][]string{s.Claim.Gone, s.Claim.Endorsers} {
		b = presentation.AppendList(b, func(b []byte) []byte {
			for _, x := range list {
				b = presentation.AppendOpaque(b, []byte(x))
			}
			return b
		})
	}
	return b
}

// Check says whether the component makes sense by itself. Error: ErrSuccession.
func (s *Succession) Check() error {
	if p := s.Patience; p != 0 && (p < MinPatience || p > MaxPatience) || p%time.Millisecond != 0 {
		return fmt.Errorf("patience of %s: it is 0 for never, or between %s and %s: %w", p, MinPatience, MaxPatience, ErrSuccession)
	}
	c := s.Claim
	if c == nil {
		return nil
	}
	increasing := func(l []string) bool {
		for i := range l {
			if i > 0 && l[i-1] >= l[i] {
				return false
			}
		}
		return true
	}
	switch {
	case s.Patience == 0:
		return fmt.Errorf("a claim where nobody succeeds: %w", ErrSuccession)
	case c.At > math.MaxInt64:
		return fmt.Errorf("a claim of %d ms after 1970: %w", c.At, ErrSuccession)
	case len(c.Gone) > maxGone || !increasing(c.Gone):
		return fmt.Errorf("%d are said to be gone, or not in order: %w", len(c.Gone), ErrSuccession)
	case len(c.Endorsers) > maxSuccessors || !increasing(c.Endorsers):
		return fmt.Errorf("%d endorse it, or not in order: %w", len(c.Endorsers), ErrSuccession)
	case !slices.Contains(c.Endorsers, c.Claimant):
		return fmt.Errorf("the claimant does not endorse it: %w", ErrSuccession)
	}
	for _, g := range c.Gone {
		if _, err := uri.ParseParticipant(g); err != nil {
			if _, err := uri.ParseDomain(g); err != nil {
				return fmt.Errorf("%.100q is neither a domain nor a user: %w", g, ErrSuccession)
			}
		}
	}
	for _, u := range append([]string{c.Claimant}, c.Endorsers...) {
		if _, err := uri.ParseParticipant(u); err != nil {
			return fmt.Errorf("%.100q is no user: %w", u, ErrSuccession)
		}
	}
	return nil
}

// SuccessionOf returns a context's succession, the default where there is none. Error:
// ErrSuccession.
func SuccessionOf(ctx *mls.GroupContext) (*Succession, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return successionIn(d)
}

func successionIn(d mls.Dictionary) (*Succession, error) {
	data, ok := d[SuccessionComponent]
	if !ok {
		return &Succession{Patience: DefaultPatience}, nil
	}
	return ParseSuccession(data)
}

// UpdateSuccession makes the proposal that replaces the component.
func UpdateSuccession(s *Succession) (*mls.Proposal, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return updateOf(SuccessionComponent, s.Append(nil)), nil
}

// Holds says whether a role is power: others may only succeed to it.
func Holds(roles *policy.Roles, r policy.Role) bool { return roles.May(r, policy.ChangeUserRole) }

// SaidGone says whether a list of domains and users names a user.
func SaidGone(gone []string, u uri.User) bool {
	return slices.Contains(gone, u.Provider().Domain()) || slices.Contains(gone, u.String())
}

// Successors returns who may succeed when those are gone whom the list names: URIs, in
// order of standing. clients says how many clients a user has in the group.
func Successors(roles *policy.Roles, list []wire.UserRolePair, clients func(uri.User) int, gone []string) []string {
	var out []string
	best := policy.None
	for _, p := range list {
		u, err := uri.ParseParticipant(string(p.User))
		r := policy.Role(p.Role)
		if err != nil || !roles.Active(r) || Holds(roles, r) || SaidGone(gone, u) || clients(u) == 0 || r < best {
			continue
		}
		if r > best {
			best, out = r, nil
		}
		if len(out) < maxSuccessors {
			out = append(out, string(p.User))
		}
	}
	return out
}

// Holders returns who holds power: URIs, in order of standing.
func Holders(roles *policy.Roles, list []wire.UserRolePair) []uri.User {
	var out []uri.User
	for _, p := range list {
		if u, err := uri.ParseParticipant(string(p.User)); err == nil && Holds(roles, policy.Role(p.Role)) {
			out = append(out, u)
		}
	}
	return out
}

// DomainsOf returns where users are: domains, sorted, each once.
func DomainsOf(users []uri.User) []string {
	var out []string
	for _, u := range users {
		out = append(out, u.Provider().Domain())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Missing returns how many endorsements a claim still lacks, and when its time comes, in
// ms since 1970; 0: it may be now. The rest is as in Successors.
func (s *Succession) Missing(roles *policy.Roles, list []wire.UserRolePair, clients func(uri.User) int) (endorsers int, due uint64) {
	c := s.Claim
	all := Successors(roles, list, clients, c.Gone)
	have := 0
	for _, u := range all {
		if slices.Contains(c.Endorsers, u) {
			have++
		}
	}
	if len(c.Gone) > 0 { // else nobody can speak against it
		due = c.At + uint64(s.Patience/time.Millisecond)
	}
	return max(0, len(all)/2+1-have), due
}

// Claim returns the claim that stands in the room, nil if none does, how many endorsements
// it lacks, and when its time comes, as Missing.
func (s *State) Claim() (c *Claim, missing int, due uint64, err error) {
	x, err := SuccessionOf(s.group.Context())
	if err != nil || x.Claim == nil {
		return nil, 0, 0, err
	}
	missing, due = x.Missing(s.view.Rules, s.view.list, s.roster.Clients)
	return x.Claim, missing, due, nil
}

// succession judges an update of the component, which only the committer itself makes.
func (j *judgement) succession(p *mls.UsedProposal, user string, role policy.Role) error {
	deny := func(format string, args ...any) error {
		return fmt.Errorf("%s, %s: %s: %w", user, j.was.Rules.Name(role), fmt.Sprintf(format, args...), ErrSuccession)
	}
	if j.c.Kind != mls.ContentCommit || j.c.Sender.Type != mls.SenderMember || p.Sender != j.c.Sender {
		return deny("succession is changed by who commits it, and by no proposal of another")
	}
	was, err := successionIn(j.committed.components)
	if err != nil {
		return err
	}
	next, err := ParseSuccession(p.Proposal.AppData.Update)
	if err != nil {
		return err
	}
	if next.Patience != was.Patience {
		if !Holds(j.was.Rules, role) {
			return deny("sets for how long administrators may be silent")
		}
		if next.Claim != nil {
			return deny("a claim in a change of the rules")
		}
	}
	switch {
	case next.Claim == nil && was.Claim == nil:
		return nil
	case next.Claim == nil:
		return j.mayEnd(was, user, role, deny)
	case was.Claim != nil && next.Claim.Claimant == was.Claim.Claimant && next.Claim.At == was.Claim.At:
		return j.mayEndorse(was.Claim, next.Claim, user, deny)
	case was.Claim != nil && !j.stale(was):
		return deny("%s claims the room already, endorse that or wait", was.Claim.Claimant)
	}
	return j.mayClaim(next.Claim, user, deny)
}

// stale: a claim that stands in the way of another one: of somebody who can take it no
// more, or has not for as long again.
func (j *judgement) stale(s *Succession) bool {
	if !slices.Contains(Successors(j.was.Rules, j.committed.list, j.r.Clients, s.Claim.Gone), s.Claim.Claimant) {
		return true
	}
	return j.at > s.Claim.At+2*uint64(s.Patience/time.Millisecond)
}

func (j *judgement) mayClaim(c *Claim, user string, deny func(string, ...any) error) error {
	if c.Claimant != user || len(c.Endorsers) != 1 {
		return deny("claims it for %s, with %d endorsements", c.Claimant, len(c.Endorsers))
	}
	if d := int64(c.At) - int64(min(j.at, math.MaxInt64)); time.Duration(max(d, -d)) > claimSkew/time.Millisecond {
		return deny("claims it as of %d, at %d: is the clock right?", c.At, j.at)
	}
	for _, g := range c.Gone {
		if u, err := uri.ParseParticipant(g); err == nil && !Holds(j.was.Rules, j.was.Role(u.String())) {
			return deny("says that %s is gone, who holds no power", g)
		}
	}
	for _, h := range Holders(j.was.Rules, j.committed.list) {
		if !SaidGone(c.Gone, h) {
			return deny("%s is an administrator, and not said to be gone", h)
		}
	}
	if all := Successors(j.was.Rules, j.committed.list, j.r.Clients, c.Gone); !slices.Contains(all, user) {
		return deny("the room would go to one of %s", strings.Join(all, ", "))
	}
	return nil
}

func (j *judgement) mayEndorse(was, next *Claim, user string, deny func(string, ...any) error) error {
	if !slices.Equal(was.Gone, next.Gone) {
		return deny("changes who is said to be gone")
	}
	if !slices.Contains(Successors(j.was.Rules, j.committed.list, j.r.Clients, was.Gone), user) {
		return deny("endorses a claim and could not make one")
	}
	want := append(slices.Clone(was.Endorsers), user)
	slices.Sort(want)
	if !slices.Equal(next.Endorsers, want) {
		return deny("endorses for somebody else, or again")
	}
	return nil
}

// mayEnd: by who has made the claim, or whom it is against. A claim that nobody can take
// any more, anybody may clear away.
func (j *judgement) mayEnd(s *Succession, user string, role policy.Role, deny func(string, ...any) error) error {
	u, err := uri.ParseParticipant(user)
	if err != nil {
		return err
	}
	if user == s.Claim.Claimant || j.against(s, u, role) || j.stale(s) {
		return nil
	}
	return deny("ends the claim of %s, against whom it is not", s.Claim.Claimant)
}

// against says whether a claim is against a user: a sign of life ends it.
func (j *judgement) against(s *Succession, u uri.User, role policy.Role) bool {
	return Holds(j.was.Rules, role) || SaidGone(s.Claim.Gone, u)
}

// signOfLife: a commit by somebody whom a claim is against ends the claim.
func (j *judgement) signOfLife() error {
	if j.c.Kind != mls.ContentCommit || j.c.Sender.Type != mls.SenderMember {
		return nil
	}
	was, err := successionIn(j.committed.components)
	if err != nil || was.Claim == nil {
		return err
	}
	u, ok := j.r.users[j.c.Sender.Leaf]
	if !ok || !j.against(was, u, j.was.Role(u.String())) {
		return nil
	}
	now, err := successionIn(j.after)
	if err != nil {
		return err
	}
	if now.Claim != nil {
		return fmt.Errorf("%s gives a sign of life and lets the claim of %s stand: %w", u, was.Claim.Claimant, ErrSuccession)
	}
	return nil
}

// takes says whether a user's commit may make it an administrator: the claim is its
// own, its time has come, and most successors endorse it.
func (j *judgement) takes(user string) error {
	deny := func(format string, args ...any) error {
		return fmt.Errorf("%s makes itself an administrator: %s: %w", user, fmt.Sprintf(format, args...), ErrSuccession)
	}
	was, err := successionIn(j.committed.components)
	if err != nil {
		return err
	}
	if j.c.Kind != mls.ContentCommit || j.c.Sender.Type != mls.SenderMember || j.r.users[j.c.Sender.Leaf].String() != user {
		return deny("by a proposal")
	}
	if was.Claim == nil || was.Claim.Claimant != user {
		return deny("it has not claimed it")
	}
	now, err := successionIn(j.after)
	if err != nil {
		return err
	}
	if now.Claim != nil {
		return deny("the claim goes on")
	}
	// Who has come to power since the claim has it from a holder, whose commit has ended the
	// claim; this is the second lock.
	for _, h := range Holders(j.was.Rules, j.committed.list) {
		if !SaidGone(was.Claim.Gone, h) {
			return deny("%s is an administrator, and not said to be gone", h)
		}
	}
	if !slices.Contains(Successors(j.was.Rules, j.committed.list, j.r.Clients, was.Claim.Gone), user) {
		return deny("others would succeed now")
	}
	missing, due := was.Missing(j.was.Rules, j.committed.list, j.r.Clients)
	switch {
	case missing > 0:
		return deny("%d more successors have to endorse it", missing)
	case j.at < due:
		return deny("not before %s", time.UnixMilli(int64(due)).UTC().Format(time.RFC3339))
	}
	return nil
}
