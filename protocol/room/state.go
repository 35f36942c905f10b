package room

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// ErrKind: an entry of a kind that this version does not follow yet.
var ErrKind = errors.New("room: entry of a kind that is not supported")

// Rules are what a room is judged by, the same for all who follow it.
type Rules struct {
	// Auth judges credentials; see Config.
	Auth mls.Authenticator
	// Anchors returns the keys that a provider's domain is known by, none if it
	// is unknown. In memory, no waiting, as x509auth.Anchors.
	Anchors func(domain string) []crypto.PublicKey
}

// State is a room as its log tells it, to its hub and its followers alike: the
// group's public half, who takes part, who orders it. Entries come in by Begin
// and Check, which change nothing, and Advance. One goroutine owns it.
//
// What Advance changed is stored from Unsaved; if that fails, drop the State and
// Load it again.
type State struct {
	room    uri.Room
	id      ID
	rules   Rules
	at      Position
	group   *mls.PublicGroup
	roster  *Roster
	hosting *Hosting          // as the context says: the hub in it is a checkpoint
	lead    Lead              // as the log says
	info    *mls.GroupInfo    // of the present epoch, without a tree
	view    *View             // who takes part, and the policy
	pending *View             // view with what is pending; nil: not asked since
	list    []Participant     // the participant list, read out
	left    map[string]uint64 // domain -> seq of the entry with which it stopped following
	outside []string          // who follows without a participant, see followOutside
	former  []Replica         // who ordered the room before, by franking keys, see Former

	unsavedFormer bool
	ended         []endedLink // join links that count no longer, the latest last
	unsavedEnded  bool

	unsavedInfo    bool
	unsavedLead    bool
	unsavedOutside bool
	unsavedLeft    []string
}

// Step is a checked entry and what it does to the state that checked it.
type Step struct {
	Entry *Entry
	// Changes are the handshake's, in order: one commit, or proposals.
	Changes []*mls.Change

	of    *State
	after Position
	info  *mls.GroupInfo
	lead  *Lead // of a hub_change, a settled, and a commit that changes the set or moves the room
	cites []Head
}

// Cites returns the heads that the log before the entry must hold, for the caller
// to compare with its store: those of the certificate in a settled entry. A step
// whose heads are not all there must not be adopted; the entry is a lie.
func (s *Step) Cites() []Head { return s.cites }

// Commit returns the change of a commit, nil for anything else.
func (s *Step) Commit() *mls.Change {
	if len(s.Changes) == 1 && s.Changes[0].Kind == mls.ContentCommit {
		return s.Changes[0]
	}
	return nil
}

// Begin checks a room's first entry and returns the room as it then stands.
//
// The room begins with one member, its creator, who is its one participant and
// admin; the room's URI, the creator and the hub are of one domain, and the hub's
// key is one that the domain is known by.
//
// Errors: ErrChain, ErrBody, ErrPolicy, ErrHosting, and those of mls for the
// group.
func Begin(e *Entry, rules Rules) (*State, error) {
	s, err := begin(e, rules)
	if err != nil {
		return nil, fmt.Errorf("beginning room: %w", err)
	}
	return s, nil
}

func begin(e *Entry, rules Rules) (*State, error) {
	at, err := Position{}.follow(e.Room, e)
	if err != nil {
		return nil, err
	}
	c, err := ParseCreate(e.Body)
	if err != nil {
		return nil, err
	}
	if id := IDOf([]byte(c.URI.String())); id != e.Room {
		return nil, fmt.Errorf("entry of room %.8s creates %s, %.8s: %w", e.Room, c.URI, id, ErrWrongRoom)
	}
	gid, err := GroupID(c.URI)
	if err != nil {
		return nil, err
	}
	ctx := &c.GroupInfo.Context
	switch {
	case !bytes.Equal(ctx.GroupID, gid):
		return nil, fmt.Errorf("group %q for room %s, %q expected: %w", ctx.GroupID, c.URI, gid, ErrBody)
	case ctx.Epoch != 0:
		return nil, fmt.Errorf("room begins in epoch %d: %w", ctx.Epoch, ErrBody)
	case ctx.Suite != Suite:
		return nil, fmt.Errorf("room with cipher suite %v, %v expected: %w", ctx.Suite, Suite, ErrBody)
	}
	if _, ok := c.GroupInfo.Extensions.Get(mls.ExtRatchetTree); ok {
		return nil, fmt.Errorf("GroupInfo with a tree: %w", ErrBody)
	}
	s := &State{room: c.URI, id: e.Room, rules: rules, at: at, info: c.GroupInfo, left: map[string]uint64{}, unsavedInfo: true}
	s.group, err = mls.NewPublicGroup(c.GroupInfo, c.Tree, Config(rules.Auth), time.UnixMilli(int64(e.AcceptedAt)))
	if err != nil {
		return nil, err
	}
	if s.roster, err = RosterOf(s.group); err != nil {
		return nil, err
	}
	if s.hosting, err = HostingOf(ctx); err != nil {
		return nil, err
	}
	if err := s.checkFirst(); err != nil {
		return nil, err
	}
	s.lead = LeadOf(s.hosting)
	return s, s.readList()
}

// readList reads the participant list of the present context.
func (s *State) readList() error {
	var err error
	if s.view, err = s.roster.View(s.group); err != nil {
		return err
	}
	s.list, s.pending = s.list[:0:0], nil
	for _, p := range s.view.list {
		u, err := s.roster.naming.parse(string(p.User))
		if err != nil {
			return err
		}
		s.list = append(s.list, Participant{u, policy.Role(p.Role), s.view.Rules.Active(policy.Role(p.Role))})
	}
	return nil
}

func (s *State) checkFirst() error {
	ctx := s.group.Context()
	if n := s.group.MemberCount(); n != 1 {
		return fmt.Errorf("room begins with %d members: %w", n, ErrPolicy)
	}
	var creator uri.User
	for _, u := range s.roster.users {
		creator = u
	}
	domain := s.room.Provider().Domain()
	v, err := s.roster.View(s.group)
	if err != nil {
		return err
	}
	list, roles := v.list, v.Rules
	h := s.hosting
	switch {
	case len(list) != 1 && !v.Base.Fixed || string(list[0].User) != creator.String() || roles.Top() == policy.None || policy.Role(list[0].Role) != roles.Top():
		return fmt.Errorf("room begins with participants %v, %s as %s expected: %w", list, creator, roles.Name(roles.Top()), ErrPolicy)
	case creator.Provider().Domain() != domain:
		return fmt.Errorf("room of %s created by %s: %w", domain, creator, ErrPolicy)
	case h.Hub.Domain != domain || h.Term != FirstTerm:
		return fmt.Errorf("room of %s begins with hub %s, term %s: %w", domain, h.Hub.Domain, h.Term, ErrHosting)
	case len(h.Replicas) != 1 || !h.Replicas[0].equal(&h.Hub):
		return fmt.Errorf("room begins with %d replicas, its hub alone expected: %w", len(h.Replicas), ErrHosting)
	case h.Failover != FailoverAdmin:
		return fmt.Errorf("room begins with failover mode %d: %w", h.Failover, ErrHosting)
	case anchoredBy(s.rules.Anchors, &h.Hub) != nil:
		return fmt.Errorf("hub key %x is none that %s is known by: %w", h.Hub.ProviderKey[:8], domain, ErrHosting)
	}
	want := mls.Extensions{required(s.roster.naming).Extension(), mls.ExternalSendersExtension(senders(h))}
	for _, x := range want {
		if got, ok := ctx.Extensions.Get(x.Type); !ok || !bytes.Equal(got, x.Data) {
			return fmt.Errorf("extension %d of the GroupContext is not as rooms have it: %w", x.Type, ErrPolicy)
		}
	}
	if err := s.checkFirstPolicy(v); err != nil {
		return err
	}
	for id, data := range v.components {
		switch id {
		case wire.ComponentParticipantList, HostingComponent, RolesComponent, PseudonymousComponent: // read above
		case MetadataComponent:
			if m, err := policy.ParseMetadata(data); err != nil {
				return fmt.Errorf("%w: %w", err, ErrPolicy)
			} else if m.URI != s.room.String() {
				return fmt.Errorf("room with metadata of %.255q: %w", m.URI, ErrPolicy)
			}
		case OperationalComponent, PreauthComponent, BaseComponent, StatusComponent, AssetsComponent, ExpirationComponent:
			if _, err := ParseComponent(id, data); err != nil {
				return fmt.Errorf("%w: %w", err, ErrPolicy)
			}
		case SuccessionComponent:
			if x, err := ParseSuccession(data); err != nil {
				return err
			} else if x.Claim != nil {
				return fmt.Errorf("room begins with a claim: %w", ErrSuccession)
			}
		case OutsideComponent:
			if x, err := ParseOutside(data); err != nil {
				return err
			} else if x.Recruit != "" {
				return fmt.Errorf("room begins with a recruit: %w", ErrOutside)
			}
		default:
			return fmt.Errorf("room begins with component %#04x: %w", uint16(id), ErrPolicy)
		}
	}
	if len(ctx.Extensions) != 3 {
		return fmt.Errorf("room begins with %d GroupContext extensions: %w", len(ctx.Extensions), ErrPolicy)
	}
	return nil
}

// checkFirstPolicy: with which policy a room may begin. A room with fixed membership begins
// with all its participants, of whom the creator alone has a client.
func (s *State) checkFirstPolicy(v *View) error {
	for _, p := range v.list {
		if _, err := s.roster.naming.parse(string(p.User)); err != nil || !v.Rules.Active(policy.Role(p.Role)) {
			return fmt.Errorf("room begins with participant %.255q as %s: %w", p.User, v.Rules.Name(policy.Role(p.Role)), ErrPolicy)
		}
	}
	for _, e := range v.Preauth.Entries {
		if !v.Rules.Known(e.Role) {
			return fmt.Errorf("role %d, which there is not, is preauthorized: %w", e.Role, ErrPolicy)
		}
	}
	if err := s.roster.naming.checkFirst(v); err != nil {
		return err
	}
	if err := s.beginsWithin(v); err != nil {
		return err
	}
	if v.Base.Fixed {
		if err := v.Rules.Fixed(); err != nil {
			return fmt.Errorf("%w: %w", err, ErrPolicy)
		}
	}
	if err := v.Base.Fits(policy.Load{}, v.load, true); err != nil {
		return fmt.Errorf("%w: %w", err, ErrPolicy)
	}
	return nil
}

// Check verifies that an entry continues the log and that its body is good in
// the room's present state. It changes nothing. That the hub signed the entry,
// which Verify shows for a batch, is not looked at.
//
// Errors: ErrWrongRoom, ErrChain, ErrBody, ErrEpoch, ErrPolicy, ErrPending,
// ErrHosting, ErrKind, ErrSettling, ErrVote, ErrCertificate, ErrQuorum,
// ErrSignature, ErrEnded, and those of mls. An error from x509auth that says
// ErrUnknownProvider may pass when the provider has been looked up.
func (s *State) Check(e *Entry) (*Step, error) {
	st, err := s.check(e)
	if err != nil {
		return nil, fmt.Errorf("checking entry %d (%s): %w", e.Seq, e.Kind, err)
	}
	return st, nil
}

func (s *State) check(e *Entry) (*Step, error) {
	after, err := s.at.follow(s.id, e)
	if err != nil {
		return nil, err
	}
	st := &Step{Entry: e, of: s, after: after}
	if s.Ended() != nil && (e.Kind == KindMessage || e.Kind == KindHandshake) {
		return nil, ErrEnded // who orders it may change, so that its end becomes final
	}
	switch e.Kind {
	case KindMessage:
		m, err := ParseMessage(e.Body)
		if err != nil {
			return nil, err
		}
		return st, s.checkMessage(m.Message.Private)
	case KindHandshake:
		h, err := ParseHandshake(e.Body)
		if err != nil {
			return nil, err
		}
		if s.lead.Changing() {
			return nil, ErrSettling
		}
		st.Changes, err = s.checkHandshake(h, &s.lead, e.AcceptedAt)
		if err != nil {
			return nil, err
		}
		st.info = h.Info()
		if c := st.Commit(); c != nil {
			lead, err := s.lead.FollowCommit(e, c)
			if err != nil {
				return nil, err
			}
			if lead.Changing() {
				st.lead = &lead
			}
		}
		return st, nil
	case KindHubChange, KindSettled:
		if e.Kind == KindHubChange {
			c, err := ParseHubChange(e.Body)
			if err != nil {
				return nil, err
			}
			if c.Via == ByMove {
				return st, s.checkMove(st, c)
			}
		}
		lead, cites, err := s.lead.Follow(e, s.at, s.active, s.rules.Anchors)
		if err != nil {
			return nil, err
		}
		st.lead, st.cites = &lead, cites
		return st, nil
	}
	return nil, ErrKind
}

// active reports whether a provider has a participant that is not banned.
func (s *State) active(domain string) bool { return slices.Contains(s.Participating(), domain) }

func (s *State) checkMessage(m *mls.PrivateMessage) error {
	now := s.group.Epoch()
	switch {
	case !bytes.Equal(m.GroupID(), s.group.GroupID()):
		return fmt.Errorf("message of group %q: %w", m.GroupID(), ErrWrongRoom)
	case m.Epoch() > now || now-m.Epoch() > PastEpochs:
		return fmt.Errorf("message of epoch %d, the room is in %d: %w", m.Epoch(), now, ErrEpoch)
	}
	return nil
}

func (s *State) checkHandshake(h *Handshake, lead *Lead, at uint64) ([]*mls.Change, error) {
	var out []*mls.Change
	for _, m := range h.Messages() {
		c, err := s.group.Process(m, h.Info(), time.UnixMilli(int64(at)))
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, s.roster.JudgeAll(s.group, out, lead, at, s.rules.Anchors)
}

// Advance adopts a step that Check of this state returned. mls.ErrStale if the
// state has moved on since.
func (s *State) Advance(st *Step) error {
	if st.of != s || st.after.Next != s.at.Next+1 || st.Entry.Prev != s.at.Last {
		return fmt.Errorf("advancing room to entry %d: %w", st.Entry.Seq, mls.ErrStale)
	}
	for _, c := range st.Changes {
		if err := s.group.Apply(c); err != nil {
			return fmt.Errorf("advancing room: %w", err)
		}
		s.pending = nil
	}
	c := st.Commit()
	var before []string
	if c != nil || st.lead != nil { // there are many messages
		before = s.Providers()
	}
	if c != nil {
		if err := s.roster.Apply(c); err != nil {
			return fmt.Errorf("advancing room: %w", err)
		}
		h, err := HostingOf(c.Context)
		if err != nil {
			return fmt.Errorf("advancing room: %w", err)
		}
		s.hosting, s.info, s.unsavedInfo = h, st.info, true
		was := s.view.components
		if err := s.readList(); err != nil {
			return fmt.Errorf("advancing room: %w", err)
		}
		if err := s.noteEnded(was, c, st.Entry.AcceptedAt); err != nil {
			return fmt.Errorf("advancing room: %w", err)
		}
	}
	if st.lead != nil {
		s.noteFormer(&st.lead.Hub)
		s.lead, s.unsavedLead = *st.lead, true
	}
	if c != nil || st.lead != nil {
		if err := s.followOutside(c); err != nil {
			return fmt.Errorf("advancing room: %w", err)
		}
		s.noteProviders(before, s.Providers(), st.Entry.Seq)
	}
	s.at = st.after
	return nil
}

func (s *State) noteProviders(before, after []string, seq uint64) {
	for _, d := range before {
		if !slices.Contains(after, d) {
			s.left[d] = seq
			s.unsavedLeft = append(s.unsavedLeft, d)
		}
	}
	for _, d := range after {
		if _, ok := s.left[d]; ok {
			delete(s.left, d)
			s.unsavedLeft = append(s.unsavedLeft, d)
		}
	}
}

// URI returns the room's name.
func (s *State) URI() uri.Room { return s.room }

// ID returns the room's id.
func (s *State) ID() ID { return s.id }

// At returns where the log stands.
func (s *State) At() Position { return s.at }

// Epoch returns the present MLS epoch.
func (s *State) Epoch() uint64 { return s.group.Epoch() }

// Group returns the group's public half, to read from.
func (s *State) Group() *mls.PublicGroup { return s.group }

// Roster returns who has clients in the group, to read from.
func (s *State) Roster() *Roster { return s.roster }

// Hosting returns the present room_hosting, to read from. Its hub, term and
// replicas are a checkpoint; Hub, At and Set are what the log says.
func (s *State) Hosting() *Hosting { return s.hosting }

// GroupInfo returns the present epoch's GroupInfo, without a tree.
func (s *State) GroupInfo() *mls.GroupInfo { return s.info }

// HubKey returns the key that the present term's heads are signed with.
func (s *State) HubKey() ed25519.PublicKey { return s.lead.Hub.ProviderKey[:] }

// Hub returns who orders the room now, as the log says, to read from.
func (s *State) Hub() *Replica { return &s.lead.Hub }

// Set returns the replica set in force and, while a change is in progress, the
// next one, to read from. SetHash(s.Set()) is what votes bind.
func (s *State) Set() (now, next []Replica) { return s.lead.Now, s.lead.Next }

// Changing reports whether a change of the replica set is in progress, from its
// commit to the settled entry.
func (s *State) Changing() bool { return s.lead.Changing() }

// Replica returns a replica of the next set, the set in force or the set before,
// the first that has the domain, to read from.
func (s *State) Replica(domain string) (*Replica, bool) { return s.lead.Replica(domain) }

// Lead returns all that the log says about who orders and who decides, to read
// from.
func (s *State) Lead() Lead { return s.lead }

// Participants returns the participant list, to read from.
func (s *State) Participants() []Participant { return s.list }

// Roles returns what the roles of the room's participants mean.
func (s *State) Roles() *policy.Roles { return s.view.Rules }

// View returns who takes part and what the policy says, as the last commit left it.
func (s *State) View() *View { return s.view }

// Effective returns the view as it will be when all that is pending is committed: what
// somebody may still do is judged by it.
func (s *State) Effective() (*View, error) {
	if s.pending == nil {
		v, err := s.view.Effective(s.group, s.roster)
		if err != nil {
			return nil, err
		}
		s.pending = v
	}
	return s.pending, nil
}

// Ended returns how the room has ended, nil while it has not: by a tombstone, or, if it is
// not persistent, with the departure of the last who was in it. Nobody is there then who could
// commit that, so it counts from the entry on that proposes it.
func (s *State) Ended() *Tombstone {
	b, ok := s.view.components[TombstoneComponent]
	if !ok {
		if v, err := s.Effective(); err == nil && v.Over() {
			return new(Tombstone)
		}
		return nil
	}
	t, err := ParseTombstone(b)
	if err != nil { // judged when it came
		return new(Tombstone)
	}
	return t
}

// Role returns a user's role.
func (s *State) Role(u uri.User) policy.Role { return s.view.Role(u.String()) }

// Providers returns who follows the log: the providers that take part, and those without a
// participant that decide about it (Outside). Domains, each once, sorted.
func (s *State) Providers() []string {
	out := append(s.Participating(), s.outside...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Participating returns the domains of all participants that are not banned, each once,
// sorted.
func (s *State) Participating() []string {
	var out []string
	for _, p := range s.list {
		if p.Active {
			out = append(out, p.User.Provider().Domain())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MayRead says up to which entry, itself included, a provider may read the log:
// all of it while one of its users takes part or it decides about the room, and to the
// entry that ended that afterwards.
func (s *State) MayRead(domain string) (last uint64, ok bool) {
	if slices.Contains(s.Providers(), domain) {
		return ^uint64(0), true
	}
	last, ok = s.left[domain]
	return last, ok
}

// Part is a piece of a stored state, as mls.Part.
type Part = mls.Part

// Keys of parts: a letter, and what follows it.
//
//	m PART      a part of the public group (mls.Part)
//	i           the present epoch's GroupInfo
//	h           who orders and who decides (Lead.Append); without it, as
//	            room_hosting says: nothing has moved yet
//	l DOMAIN    uint64 seq of the entry with which a provider stopped following
//	o           who follows without a participant: opaque domain<V> list<V>; without it, nobody
//	f           former hubs: Replica list<V>, the latest last; without it, none
//	j           join links that count no longer: EndedLink list<V>; without it, none
const (
	partGroup = "m"
	partInfo  = "i"
	partLead  = "h"
	partLeft  = "l"
	partOut   = "o"
	partFrank = "f"
	partEnded = "j"
)

// Departures is what the keys of the parts begin with that say where providers stopped
// following, and nobody else's.
const Departures = partLeft

// DepartureAt reads such a part: the entry with which a provider stopped following.
// Error: ErrState.
func DepartureAt(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("%w: a departure of %d bytes", mls.ErrState, len(value))
	}
	return presentation.NewReader(value).U64(), nil
}

// Unsaved returns what has changed since the last call, or since Begin; write it
// in the transaction that stores the entries.
func (s *State) Unsaved() []Part {
	var out []Part
	for _, p := range s.group.Unsaved() {
		out = append(out, Part{Key: partGroup + p.Key, Value: p.Value})
	}
	if s.unsavedInfo {
		out = append(out, Part{Key: partInfo, Value: s.info.Bytes()})
	}
	if s.unsavedLead {
		out = append(out, Part{Key: partLead, Value: s.lead.Append(nil)})
	}
	if s.unsavedOutside {
		p := Part{Key: partOut}
		if len(s.outside) > 0 {
			p.Value = appendDomains(nil, s.outside)
		}
		out = append(out, p)
	}
	if s.unsavedFormer {
		out = append(out, Part{Key: partFrank, Value: appendReplicas(nil, s.former)})
	}
	if s.unsavedEnded {
		out = append(out, Part{Key: partEnded, Value: appendEnded(nil, s.ended)})
	}
	for _, d := range s.unsavedLeft {
		p := Part{Key: partLeft + d}
		if seq, ok := s.left[d]; ok {
			p.Value = presentation.AppendU64(nil, seq)
		}
		out = append(out, p)
	}
	s.unsavedInfo, s.unsavedLead, s.unsavedOutside, s.unsavedLeft = false, false, false, nil
	s.unsavedFormer, s.unsavedEnded = false, false
	return out
}

// Load reads a state from its parts and the position that was stored with them.
// Error: mls.ErrState.
func Load(room uri.Room, at Position, parts iter.Seq2[string, []byte], rules Rules) (*State, error) {
	s := &State{room: room, id: IDOf([]byte(room.String())), rules: rules, at: at, left: map[string]uint64{}}
	damaged := func(format string, args ...any) (*State, error) {
		return nil, fmt.Errorf("loading room %s: %s: %w", room, fmt.Sprintf(format, args...), mls.ErrState)
	}
	var bad error
	var err error
	var stored *Lead
	s.group, err = mls.LoadPublicGroup(func(yield func(string, []byte) bool) {
		for k, v := range parts {
			switch {
			case strings.HasPrefix(k, partGroup):
				if !yield(k[len(partGroup):], v) {
					return
				}
			case k == partInfo:
				if s.info, err = mls.ParseGroupInfo(v, BodyLimits().Limits); err != nil {
					bad = err
				}
			case k == partLead:
				var lead Lead
				if lead, err = ParseLead(v); err != nil {
					bad = err
				}
				stored = &lead
			case k == partOut:
				if s.outside, err = parseDomains(v); err != nil {
					bad = err
				}
			case k == partFrank:
				if s.former, err = parseReplicas(v); err != nil {
					bad = err
				}
			case k == partEnded:
				if s.ended, err = parseEnded(v); err != nil {
					bad = err
				}
			case strings.HasPrefix(k, partLeft) && len(v) == 8:
				s.left[k[len(partLeft):]] = presentation.NewReader(v).U64()
			default:
				bad = fmt.Errorf("part %q", k)
			}
		}
	}, Config(rules.Auth))
	switch {
	case err != nil:
		return damaged("%v", err)
	case bad != nil:
		return damaged("%v", bad)
	case s.info == nil || s.info.Context.Epoch != s.group.Epoch():
		return damaged("no GroupInfo of epoch %d", s.group.Epoch())
	}
	if s.roster, err = RosterOf(s.group); err != nil {
		return damaged("%v", err)
	}
	if s.hosting, err = HostingOf(s.group.Context()); err != nil {
		return damaged("%v", err)
	}
	s.lead = LeadOf(s.hosting)
	if stored != nil {
		s.lead = *stored
	}
	if s.lead.Term != at.Term {
		return damaged("the log is in term %s, its hub in %s", at.Term, s.lead.Term)
	}
	if err := s.readList(); err != nil {
		return damaged("%v", err)
	}
	return s, nil
}
