package node

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
)

// What the operator's commands see (package admin).

// Status implements admin.Node.
func (n *Node) Status(ctx context.Context) (*admin.Status, error) {
	n.mu.Lock()
	p, started := n.parts, n.started
	n.mu.Unlock()
	s := &admin.Status{Domain: n.cfg.Domain, Version: n.version, PID: os.Getpid(), Started: started, KeyFingerprint: n.keys.Fingerprint()}
	if err := n.readiness(); err != nil {
		s.Ready = err.Error()
	}
	if p == nil {
		return s, nil
	}
	s.PeerID, s.Clients = string(p.overlay.Self()), n.clientURL(p)
	for _, a := range p.overlay.Addrs() {
		s.Addresses = append(s.Addresses, a+"/p2p/"+s.PeerID)
	}
	users, err := p.accounts.CountUsers(ctx)
	if err != nil {
		return nil, err
	}
	s.Users = users
	s.Rooms, s.Streams = p.rooms.Stats().Rooms, p.clients.Streams()
	for _, k := range p.overlay.Known() {
		if k.Connected {
			s.Peers++
		}
	}
	waiting, err := p.outbox.Waiting()
	if err != nil {
		return nil, err
	}
	for _, w := range waiting {
		s.Outbox += w.Items
	}
	if n.looks() {
		r := p.outside.Report()
		s.Outside, s.OutsideWhy = r.State.String(), r.Why
	}
	c := p.store.Stats()
	s.Updates, s.Commits = c.Functions, c.Commits
	return s, nil
}

func (n *Node) clientURL(p *parts) string {
	scheme := "http"
	if n.cfg.Clients.TLSCertificate != "" {
		scheme = "https"
	}
	return scheme + "://" + p.listener.Addr().String()
}

// RotateKey implements admin.Node. The new key is in force from the next start on.
func (n *Node) RotateKey(context.Context) (*admin.Rotated, error) { return Rotate(n.cfg.Dir) }

// Rotate makes a new provider key for a data directory, whether a node runs on it
// or not.
func Rotate(dir string) (*admin.Rotated, error) {
	cfg, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	old, next, err := rotateKey(dir)
	if err != nil {
		return nil, err
	}
	return &admin.Rotated{Old: old, New: next, Todo: []string{
		"restart the node: it uses the new key from then on; the old one vouches for it, and keeps signing the rooms that name it",
		fmt.Sprintf("if DNS names your key, change the TXT record at _mimi.%s to: %s", cfg.Domain, overlay.TXTRecord(next)),
		"tell operators who pinned your key its new fingerprint: " + next,
	}}, nil
}

// TXTRecord is what DNS should say at _mimi.<domain>.
func TXTRecord(k *Keys) string { return overlay.TXTRecord(k.Fingerprint()) }

// Verify implements admin.Node.
func (n *Node) Verify(ctx context.Context) (*admin.Verification, error) {
	n.mu.Lock()
	p := n.parts
	n.mu.Unlock()
	return verify(ctx, p.store, filepath.Join(n.cfg.Dir, assetsName), room.Rules{Auth: newAuth(p.providers.anchors), Anchors: p.providers.anchors}, nil)
}

// operatorRooms shows rooms, and hands them over (drain.go).
type operatorRooms struct {
	r      *rooms.Rooms
	domain string // this provider's
	// answers asks another provider for a sign of life.
	answers func(ctx context.Context, domain string) error
}

// ListRooms implements admin.Rooms.
func (o operatorRooms) ListRooms(_ context.Context, after string, limit int) ([]admin.Room, error) {
	var out []admin.Room
	for _, s := range o.r.List() {
		if s.ID > after && len(out) < limit {
			out = append(out, describe(&s))
		}
	}
	return out, nil
}

func describe(s *rooms.Summary) admin.Room {
	trouble := cmp.Or(s.Broken, s.Held)
	if trouble == "" && s.Accused != "" {
		trouble = s.Accused + " has signed what cannot be, and was the room's hub: the proof is kept"
	}
	if trouble == "" && s.Twice != "" {
		trouble = s.Twice + ": the proof is kept"
	}
	return admin.Room{ID: s.ID, URI: s.URI, Hub: s.Hub, Term: s.Term, Next: s.Next, Head: s.Head, Epoch: s.Epoch,
		Replicas: s.Replicas, Outside: s.Outside, Unfinal: s.Tail, Trouble: trouble}
}

// ShowRoom implements admin.Rooms.
func (o operatorRooms) ShowRoom(ctx context.Context, id string) (*admin.Room, error) {
	list := o.r.List()
	full, err := roomID(list, id)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(s rooms.Summary) bool { return s.ID == room.ID(full).String() })
	out := describe(&list[i])
	r, err := o.r.Show(ctx, full)
	if err != nil {
		return nil, err
	}
	for _, p := range r.Participants {
		out.Participants = append(out.Participants, admin.Participant{User: p.User, Role: p.Role})
		out.Members += p.Clients
	}
	st, err := o.r.Standing(ctx, room.ID(full))
	if err != nil {
		return nil, err
	}
	out.Role, out.Replicas, out.NextReplicas, out.Proof, out.Claim = st.Role, st.Now, st.Next, st.Proof, st.Claim
	if st.Seen != (room.Term{}) && st.Seen.String() != out.Term {
		out.Seen = st.Seen.String()
	}
	out.ReleasedTo = st.To
	branches, err := o.r.BranchesOf(full)
	if err != nil {
		return nil, err
	}
	for _, b := range branches {
		out.Branches = append(out.Branches, admin.Branch{Number: b.Number, From: b.Parts, End: b.End, Hub: b.Hub, To: b.To,
			Given: time.UnixMilli(int64(b.Time)).UTC(), Why: b.Why})
	}
	return &out, nil
}

// RejoinRoom implements admin.Rooms.
func (o operatorRooms) RejoinRoom(ctx context.Context, id string) (*admin.Room, error) {
	full, err := roomID(o.r.List(), id)
	if err != nil {
		return nil, err
	}
	if _, err := o.r.RejoinRoom(ctx, full); err != nil {
		return nil, err
	}
	return o.ShowRoom(ctx, id)
}

// ShowBranch implements admin.Rooms.
func (o operatorRooms) ShowBranch(_ context.Context, id string, branch uint32, from uint64, limit int) (*admin.LogPage, error) {
	full, err := roomID(o.r.List(), id)
	if err != nil {
		return nil, err
	}
	l, err := o.r.BranchPage(full, branch, from, limit)
	if err != nil {
		return nil, err
	}
	return logPage(l, limit)
}

// ShowLog implements admin.Rooms.
func (o operatorRooms) ShowLog(_ context.Context, id string, from uint64, limit int) (*admin.LogPage, error) {
	full, err := roomID(o.r.List(), id)
	if err != nil {
		return nil, err
	}
	l, err := o.r.Page(full, from, limit)
	if err != nil {
		return nil, err
	}
	return logPage(l, limit)
}

func logPage(l *clientapi.Log, limit int) (*admin.LogPage, error) {
	certified := map[uint64][]string{}
	for _, b := range l.Certificates {
		c, err := room.ParseCertificate(b)
		if err != nil {
			return nil, err
		}
		certified[c.Head.Seq] = c.Domains()
	}
	out := &admin.LogPage{Entries: []admin.LogEntry{}}
	for _, b := range l.Entries[:min(limit, len(l.Entries))] {
		e, err := room.ParseEntry(b)
		if err != nil {
			return nil, err
		}
		out.Entries = append(out.Entries, admin.LogEntry{Seq: e.Seq, Term: e.Term.String(), Kind: e.Kind.String(),
			Accepted: time.UnixMilli(int64(e.AcceptedAt)).UTC(), Txn: e.Txn.String(), Hash: e.Hash().String(), Size: len(e.Body),
			What: inWords(e), Certified: certified[e.Seq]})
	}
	if k := len(out.Entries); k == limit {
		out.Next = out.Entries[k-1].Seq + 1
	}
	return out, nil
}

// inWords says what an entry of the providers' own does.
func inWords(e *room.Entry) string {
	switch e.Kind {
	case room.KindHubChange:
		c, err := room.ParseHubChange(e.Body)
		if err != nil {
			return err.Error()
		}
		var by []string
		for i := range c.Votes {
			by = append(by, c.Votes[i].Voter)
		}
		moved := "moved by an administrator, acknowledged by "
		for i := range c.Acks {
			a := &c.Acks[i]
			by = append(by, a.Provider)
			if a.Provider == c.Hub.Domain && a.Verify(c.Hub.ProviderKey[:], true) == nil {
				moved = "moved by a member in the absence of its administrators, acknowledged by "
			}
		}
		how := map[room.Via]string{room.ByVotes: "elected by ", room.ByRelease: "released by ", room.ByMove: moved}[c.Via]
		return c.Hub.Domain + " orders the room: " + how + strings.Join(by, ", ")
	case room.KindSettled:
		s, err := room.ParseSettled(e.Body)
		if err != nil {
			return err.Error()
		}
		return "the new replicas decide: co-signed by " + strings.Join(s.Certificate.Domains(), ", ")
	}
	return ""
}

// operatorPeers shows and decides about other providers.
type operatorPeers struct {
	domain string // this provider's, which is no peer
	o      *overlay.Overlay
}

// Peers implements admin.Peers.
func (o operatorPeers) Peers(context.Context) ([]admin.Peer, error) {
	out := []admin.Peer{}
	for _, k := range o.o.Known() {
		if k.Domain == o.domain {
			continue
		}
		p := admin.Peer{Domain: k.Domain, Fingerprint: k.Fingerprint, Trust: trustName(k.Trust), Connected: k.Connected, Expires: k.Expires}
		if k.ConflictKey != "" {
			p.Conflicts = []string{k.ConflictKey}
		}
		out = append(out, p)
	}
	return out, nil
}

// Pin implements admin.Peers.
func (o operatorPeers) Pin(ctx context.Context, domain, fingerprint string) error {
	return operatorError(o.o.Pin(ctx, domain, fingerprint))
}

// Forget implements admin.Peers.
func (o operatorPeers) Forget(ctx context.Context, domain string) error {
	return operatorError(o.o.Forget(ctx, domain))
}

func operatorError(err error) error {
	if err == nil {
		return nil
	}
	return &clientapi.Problem{Status: 422, Code: clientapi.CodeInvalid, Detail: plain(err)}
}
