package node_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// TestTriosOfBenchmark: the rooms of the benchmark are rooms, and those of three replicas.
func TestTriosOfBenchmark(t *testing.T) {
	nodes := makeTrios(t, 5, nil)
	for _, r := range nodes {
		cfg := check(node.ReadConfig(r.dir))(t)
		v, err := node.Verify(t.Context(), cfg, nil)
		if err != nil || len(v.Faults) > 0 || v.Rooms != 5 || v.Entries != 5*3 {
			t.Errorf("%s: %+v, %v", r.cfg.Domain, v, err)
		}
	}
	for _, r := range nodes {
		r.must()
	}
	for _, r := range nodes {
		within(t, "they are connected", func() bool { return r.status().Peers == 2 })
		if n := r.decided(3); n != 5 {
			t.Errorf("three replicas decide about %d of 5 rooms at %s", n, r.cfg.Domain)
		}
	}
	// One that the others vote for can order, so they take what was written for theirs.
	id := page(t, nodes[0].operator())[0].ID
	if _, err := nodes[0].operator().MoveRoom(t.Context(), id, nodes[1].cfg.Domain); err != nil {
		t.Fatal(err)
	}
	for _, r := range nodes {
		within(t, "all know the new hub", func() bool { return r.hubs()[nodes[1].cfg.Domain] == 1 })
	}
}

// makeTrios makes three data directories with the same rooms, which the first provider
// orders and all three decide about. What is in the stores is what nodes would have written
// themselves: a room, its commit that adds the others' users and names the replicas, the
// proof that they agreed, all of it final by their signatures.
//
// While all of them run for a moment, to have each other's keys, meet is called, if it is not
// nil.
func makeTrios(t testing.TB, rooms int, meet func(nodes [3]*running)) (nodes [3]*running) {
	t.Helper()
	for i, d := range []string{"atlanta.example", "biloxi.example", "chicago.example"} {
		nodes[i] = prepare(t, d)
	}
	fillTrios(t, nodes, rooms)
	var boot []string
	for _, r := range nodes {
		r.cfg.Overlay.Bootstrap = slices.Clone(boot)
		r.configure()
		boot = append(boot, r.must().status().Addresses[0])
	}
	for _, r := range nodes {
		within(t, "they know each other", func() bool { return r.status().Peers == 2 })
	}
	if meet != nil {
		meet(nodes)
	}
	for _, r := range nodes {
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func fillTrios(t testing.TB, nodes [3]*running, rooms int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var fs [3]*founder
	for i, r := range nodes {
		fs[i] = &founder{running: r}
		fs[i].open(ctx, &wg)
	}
	anchors := func(domain string) []crypto.PublicKey {
		for _, f := range fs {
			if f.cfg.Domain == domain {
				return []crypto.PublicKey{f.key.Public()}
			}
		}
		return nil
	}
	rules := room.Rules{Auth: check(x509auth.New(x509auth.Options{Anchors: anchors}))(t), Anchors: anchors}
	next := make(chan int)
	var work sync.WaitGroup
	for range 8 * runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for i := range next {
				if err := foundTrio(ctx, fs, i, rules); err != nil {
					t.Errorf("room %d: %v", i, err)
				}
			}
		})
	}
	for i := range rooms {
		next <- i
	}
	close(next)
	work.Wait()
	for _, f := range fs {
		if err := f.st.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (f *founder) replica() room.Replica {
	return room.Replica{Domain: f.cfg.Domain, ProviderKey: [32]byte(f.key.Public().(ed25519.PublicKey)), FrankingKey: make([]byte, 32)}
}

// foundTrio makes the room with a number and writes it to all three providers.
func foundTrio(ctx context.Context, fs [3]*founder, i int, rules room.Rules) error {
	f := fs[0]
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin, Topic: [16]byte(room.NewTxnNonce()), Hub: f.replica()}
	h.Replicas = []room.Replica{h.Hub}
	name, err := uri.ParseRoom(fmt.Sprintf("mimi://%s/r/room%022d", f.cfg.Domain, i))
	if err != nil {
		return err
	}
	ext, err := room.Extensions(f.user, h, nil)
	if err != nil {
		return err
	}
	id, err := room.GroupID(name)
	if err != nil {
		return err
	}
	conf := room.Config(rules.Auth)
	g, err := mls.CreateGroup(mls.GroupParams{LeafParams: f.leaf, GroupID: id, Extensions: ext}, conf)
	if err != nil {
		return err
	}
	info, err := g.GroupInfo(false)
	if err != nil {
		return err
	}
	now := time.Now()
	first := room.FirstEntry(&room.Create{URI: name, GroupInfo: info, Tree: g.Public().Tree()}, txn(i, 0), now)
	s, err := room.Begin(first, rules)
	if err != nil {
		return err
	}
	w := &writing{f: f, s: s}
	if err := w.seal([]*room.Entry{first}); err != nil {
		return err
	}

	o := mls.CommitOptions{}
	var people []room.Participant
	for _, x := range fs[1:] {
		kp, err := mls.NewKeyPackage(x.leaf, false, nil)
		if err != nil {
			return err
		}
		good, err := kp.KeyPackage().Verify(conf, now)
		if err != nil {
			return err
		}
		o.Add, people = append(o.Add, good), append(people, room.Participant{User: x.user, Role: policy.Member})
		h.Replicas = append(h.Replicas, x.replica())
	}
	h.Failover = room.FailoverAuto
	add, err := room.UpdateParticipants(g.Public().Context(), people, nil)
	if err != nil {
		return err
	}
	rehost, err := room.UpdateHosting(h)
	if err != nil {
		return err
	}
	o.Proposals = []*mls.Proposal{add, rehost}
	staged, err := g.Commit(o, now)
	if err != nil {
		return err
	}
	body, err := room.HandshakeOf(&wire.HandshakeBundle{Message: staged.Message, Welcome: staged.Welcome, GroupInfo: &wire.GroupInfoOption{Full: staged.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}).Bytes()
	if err != nil {
		return err
	}
	if err := w.add(room.KindHandshake, txn(i, 1), body, now); err != nil {
		return err
	}
	settled := &room.Settled{Certificate: certified(fs, s.ID(), s.At())}
	if err := w.add(room.KindSettled, room.TxnID{}, settled.Bytes(), now); err != nil {
		return err
	}
	decided := slices.Clone(w.waiting)
	if err := w.seal(nil); err != nil {
		return err
	}
	parts := s.Unsaved()
	var all sync.WaitGroup
	var errs [3]error
	for j, x := range fs {
		all.Go(func() { errs[j] = x.keep(ctx, fs, w, decided, parts) })
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// certified is the certificate of the end of a log, by all three.
func certified(fs [3]*founder, id room.ID, at room.Position) room.Certificate {
	c := room.Certificate{Head: room.Head{Room: id, Term: at.Term, Seq: at.Next - 1, Hash: at.Last}}
	for _, f := range fs {
		c.Signers = append(c.Signers, room.Signer{Domain: f.cfg.Domain, CoSignature: room.CoSign(c.Head, f.key)})
	}
	return c
}

// numbers are names for package hub: the providers in their order.
type numbers [3]*founder

func (n numbers) Name(p hub.Provider) string {
	if p == 0 || int(p) > len(n) {
		return ""
	}
	return n[p-1].cfg.Domain
}

func (n numbers) Number(domain string) hub.Provider {
	return hub.Provider(slices.IndexFunc(n[:], func(f *founder) bool { return f.cfg.Domain == domain }) + 1)
}

// keep writes the log to a provider, and what a replica keeps beside it.
func (f *founder) keep(ctx context.Context, fs [3]*founder, w *writing, decided []*room.Entry, parts []room.Part) error {
	s, id, all := w.s, w.s.ID(), hub.SetOf(1, 2, 3)
	h := s.Hosting()
	cert := certified(fs, id, w.at)
	first := w.batches[0].Entries()[0]
	commit, settled := decided[0], decided[1]
	base := &hub.Entry{Term: first.Term, Seq: first.Seq, Prev: first.Prev, Hash: first.Hash(), Kind: hub.Ordinary, Txn: first.Txn}
	log := hub.Resume([]hub.Mark{{Old: hub.SetOf(1), Hub: 1, Handshake: base.Head()}}, base,
		&hub.Entry{Term: commit.Term, Seq: commit.Seq, Prev: commit.Prev, Hash: commit.Hash(), Kind: hub.Handshake, Txn: commit.Txn, Set: all},
		&hub.Entry{Term: settled.Term, Seq: settled.Seq, Prev: settled.Prev, Hash: settled.Hash(), Kind: hub.Settled, Voters: all})
	state := hub.State{Seen: w.at.Term, Final: hub.Certificate{Head: log.Last(), Signers: all}}
	head := &logstore.Head{URI: s.URI(), At: w.at, Topic: h.Topic, Hub: h.Hub.Domain, HubKey: h.Hub.ProviderKey, Providers: s.Providers(),
		Epoch: s.Epoch(), Auto: true}
	for _, x := range fs {
		r := x.replica()
		head.Set = append(head.Set, logstore.Member{Domain: r.Domain, Key: r.ProviderKey})
	}
	return f.st.Update(ctx, func(tx *store.Tx) error {
		for i, b := range w.batches {
			pos, err := f.feed.Next(tx)
			if err != nil {
				return err
			}
			head.Feed = pos
			var c *room.Certificate
			if i > 0 {
				c = &cert
			}
			if err := logstore.Append(tx, id, b, c, pos); err != nil {
				return err
			}
		}
		return errors.Join(logstore.PutParts(tx, id, parts), logstore.PutHead(tx, head), f.feed.Join(tx, f.user, id, head.Feed),
			logstore.PutReplica(tx, id, state, logstore.VotedSet{}, log.Marks(), numbers(fs)))
	})
}
