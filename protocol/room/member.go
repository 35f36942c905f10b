package room

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
)

// What members need of the log's moves. Providers follow a room by State; a member
// has the group itself, and follows who decides beside it.

// FollowInfo is FollowCommit for who cannot read the commit and has its GroupInfo, in a
// log that a provider has verified: room_hosting that has another set than the log, and
// the log's hub and term, begins a change.
func (l Lead) FollowInfo(info *mls.GroupInfo, e *Entry) Lead {
	h, err := HostingOf(&info.Context)
	if err != nil || h.Term != l.Term || !h.Hub.equal(&l.Hub) || sameSet(h.Replicas, l.Now) {
		return l
	}
	l.Next, l.Began = h.Replicas, HeadOf(e)
	return l
}

// HubOf returns the hub that a hub_change entry claims to begin with, whose key its
// head is signed with. Whether it is one, Follow tells.
func HubOf(e *Entry) (*Replica, error) {
	c, err := ParseHubChange(e.Body)
	if err != nil {
		return nil, err
	}
	return &c.Hub, nil
}

// Refreshed returns the component that says what the log says, and whether before
// does not. A commit that adds members carries it, so that they know who decides.
func (l *Lead) Refreshed(before *Hosting) (after *Hosting, stale bool) {
	x := *before
	x.Hub, x.Term, x.Replicas = l.Hub, l.Term, l.Now
	if len(l.Now) < 3 {
		x.Failover = FailoverAdmin
	}
	return &x, x.Term != before.Term || !x.Hub.equal(&before.Hub) || !sameSet(x.Replicas, before.Replicas)
}

// UpdateHosting returns the proposal that makes a context's room_hosting h.
// Error: ErrHosting.
func UpdateHosting(h *Hosting) (*mls.Proposal, error) {
	if err := h.Check(); err != nil {
		return nil, fmt.Errorf("changing room_hosting: %w", err)
	}
	return &mls.Proposal{Type: mls.ProposalAppDataUpdate,
		AppData: &mls.AppDataUpdate{Component: HostingComponent, Op: mls.AppDataSet, Update: h.Append(nil)}}, nil
}

// NewSet returns the replica set that a checked commit makes, nil if it makes none.
func (s *State) NewSet(st *Step) []Replica {
	if st.Commit() == nil || st.lead == nil {
		return nil
	}
	return st.lead.Next
}
