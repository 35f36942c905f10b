package room

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// This file is the replica from outside: a provider without a participant that two
// providers recruit, so that the room survives either of them. It keeps the whole log,
// decides with them, may become hub, and so sees who takes part, and reads nothing. The
// room has to allow it, and names it, so that all members know who it is. Whether the
// provider is willing nobody can prove to others: it follows only what it has promised.

// ErrOutside: an outside component that does not decode, or a replica without a
// participant that the room does not allow. It is an ErrPolicy.
var ErrOutside = fmt.Errorf("not by the rules for replicas from outside: %w", ErrPolicy)

// OutsideComponent is the component's id in the GroupContext's app_data_dictionary,
// from the private range.
const OutsideComponent mls.ComponentID = 0x8003

// MaxForRecruit is how many providers take part at most where one more is recruited.
const MaxForRecruit = 2

// Outside is the component outside: whether a provider without a participant may be
// recruited as a replica, and which one is.
//
//	struct {
//	    uint8 version = 1;
//	    uint8 allowed;            /* no(0), yes(1) */
//	    opaque recruit<V>;        /* its domain, at most 253 bytes; empty: none */
//	} Outside;
//
// An update replaces the whole. A room without the component does not allow it.
type Outside struct {
	Allowed bool
	Recruit string
}

// ParseOutside reads and checks the component. Error: ErrOutside.
func ParseOutside(b []byte) (*Outside, error) {
	r := presentation.NewReader(b)
	readVersion(r, "outside")
	o := &Outside{Allowed: r.Optional(), Recruit: string(r.Opaque())}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading outside: %w: %w", err, ErrOutside)
	}
	return o, o.Check()
}

// Append appends the component's encoding.
func (o *Outside) Append(b []byte) []byte {
	b = presentation.AppendOptional(append(b, Version), o.Allowed)
	return presentation.AppendOpaque(b, []byte(o.Recruit))
}

// Check says whether the component makes sense by itself. Error: ErrOutside.
func (o *Outside) Check() error {
	if o.Recruit == "" {
		return nil
	}
	if !o.Allowed {
		return fmt.Errorf("%.100q is recruited where that is not allowed: %w", o.Recruit, ErrOutside)
	}
	if d, err := uri.ParseDomain(o.Recruit); err != nil || d.Domain() != o.Recruit {
		return fmt.Errorf("%.100q is no provider's name: %w", o.Recruit, ErrOutside)
	}
	return nil
}

// OutsideOf returns a context's component, what stands for it where there is none. Error:
// ErrOutside.
func OutsideOf(ctx *mls.GroupContext) (*Outside, error) {
	d, err := ctx.Extensions.Dictionary(BodyLimits().Limits)
	if err != nil {
		return nil, err
	}
	return outsideIn(d)
}

func outsideIn(d mls.Dictionary) (*Outside, error) {
	data, ok := d[OutsideComponent]
	if !ok {
		return new(Outside), nil
	}
	return ParseOutside(data)
}

// UpdateOutside makes the proposal that replaces the component. Error: ErrOutside.
func UpdateOutside(o *Outside) (*mls.Proposal, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("changing outside: %w", err)
	}
	return updateOf(OutsideComponent, o.Append(nil)), nil
}

// AllowingOutside returns the GroupContext extensions of a new room that allows a replica
// from outside; ext are those of Extensions.
func AllowingOutside(ext mls.Extensions) (mls.Extensions, error) {
	return withComponents(ext, mls.Dictionary{OutsideComponent: (&Outside{Allowed: true}).Append(nil)})
}

// updatesOutside judges who may change the component: who changes the hosting, by its own
// commit, in which the two can agree.
func (j *judgement) updatesOutside(p *mls.UsedProposal, user string, role policy.Role) error {
	if j.c.Kind != mls.ContentCommit || j.c.Sender.Type != mls.SenderMember || p.Sender != j.c.Sender {
		return fmt.Errorf("%s: replicas from outside are allowed by who commits that, and by no proposal of another: %w", user, ErrOutside)
	}
	if !j.was.Rules.May(role, policy.ChangeHosting) {
		return fmt.Errorf("%s, %s, says whether replicas from outside are allowed: %w", user, j.was.Rules.Name(role), ErrOutside)
	}
	_, err := ParseOutside(p.Proposal.AppData.Update)
	return err
}

// recruits says whether a commit makes the room name a provider as its recruit.
func (j *judgement) recruits(domain string) bool {
	if j.c.Kind != mls.ContentCommit {
		return false // a proposal does not know what else is in its commit
	}
	o, err := outsideIn(j.after)
	return err == nil && o.Recruit == domain
}

// outside judges what a commit leaves of the recruit: it is one provider without a
// participant, new to the set when it is named, named as long as it is in the set, and
// only where too few providers take part for a set of their own. When a further one comes
// to take part the recruit stays until a commit changes the set, and no longer.
func (j *judgement) outside() error {
	was, err := outsideIn(j.committed.components)
	if err != nil {
		return err
	}
	now, err := outsideIn(j.after)
	if err != nil {
		return err
	}
	set := j.lead.Now
	if updatesHosting(j.c) {
		h, err := hostingIn(j.after)
		if err != nil {
			return err
		}
		set = h.Replicas
	}
	in := func(domain string, set []Replica) bool {
		return slices.ContainsFunc(set, func(x Replica) bool { return x.Domain == domain })
	}
	fresh := now.Recruit != was.Recruit
	if fresh && was.Recruit != "" && in(was.Recruit, set) && !j.takesPart(was.Recruit) {
		return fmt.Errorf("%s stays a replica, has no participant and is no longer named as recruited: %w", was.Recruit, ErrOutside)
	}
	if now.Recruit == "" {
		return nil
	}
	if fresh && (!in(now.Recruit, set) || in(now.Recruit, j.lead.Now) || j.takesPart(now.Recruit)) {
		return fmt.Errorf("%s is named as recruited, and is no new replica without a participant: %w", now.Recruit, ErrOutside)
	}
	if !fresh && sameSet(set, j.lead.Now) || !in(now.Recruit, set) || j.takesPart(now.Recruit) {
		return nil
	}
	part := j.next.Providers()
	if len(part) > MaxForRecruit {
		return fmt.Errorf("%s is kept as a recruit, and %d providers take part, which are enough without: %w", now.Recruit, len(part), ErrOutside)
	}
	for _, x := range set {
		if x.Domain != now.Recruit && !slices.Contains(part, x.Domain) {
			return fmt.Errorf("%s and %s are replicas without a participant, and one may be: %w", now.Recruit, x.Domain, ErrOutside)
		}
	}
	return nil
}

// maxOutside is how many providers follow the log without a participant at most: those of
// two sets, and the hub.
const maxOutside = 2*5 + 1

// followOutside notes which providers follow the log without a participant: recruits, from
// the commit that names them, and those whose last participant has gone while they are in a
// set or order the room; until they are in no set any more, and do not order it. So who
// decides about the room can read what it decides about, however late an administrator's
// commit replaces it; and who is dropped helps to settle the set without it, hands the room
// over if it has to, and reads nothing after that.
func (s *State) followOutside(c *mls.Change) error {
	out := slices.Clone(s.outside)
	add := func(d string) {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	if c != nil {
		o, err := OutsideOf(c.Context)
		if err != nil {
			return err
		}
		if o.Recruit != "" {
			add(o.Recruit)
		}
	}
	part := s.Participating()
	for _, x := range slices.Concat(s.lead.Now, s.lead.Next, []Replica{s.lead.Hub}) {
		if !slices.Contains(part, x.Domain) {
			add(x.Domain)
		}
	}
	out = slices.DeleteFunc(out, func(d string) bool {
		return len(keysIn(d, s.lead.Now, s.lead.Next)) == 0 && s.lead.Hub.Domain != d
	})
	if !slices.Equal(out, s.outside) {
		s.outside, s.unsavedOutside = out, true
	}
	return nil
}

// Outside returns the providers that follow the log without a participant: the room has
// recruited them, or they have lost their last one and still decide about it.
func (s *State) Outside() []string {
	var out []string
	part := s.Participating()
	for _, d := range s.outside {
		if !slices.Contains(part, d) {
			out = append(out, d)
		}
	}
	return out
}

// Recruiting returns what the room says of replicas from outside. Error: ErrOutside.
func (s *State) Recruiting() (*Outside, error) { return OutsideOf(s.group.Context()) }

func appendDomains(b []byte, list []string) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, d := range list {
			b = presentation.AppendOpaque(b, []byte(d))
		}
		return b
	})
}

// parseDomains reads what appendDomains has written.
func parseDomains(b []byte) (out []string, err error) {
	r := presentation.NewReader(b)
	r.List(maxOutside, func() { out = append(out, readDomain(r)) })
	return out, r.Done()
}
