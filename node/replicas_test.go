package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/hub"
	protocolroom "github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// TestThreeNodes: three whole nodes decide about a room; the one that orders it stops
// without a word, another one takes over, nobody loses anything, and all stores verify.
// Then everything that proves what is final is damaged, and found.
func TestThreeNodes(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	boot := a.status().Addresses[0]
	b, c := prepare(t, "biloxi.example", boot).must(), prepare(t, "chicago.example", boot).must()
	alice, bob, carol := a.user("alice"), b.user("bob"), c.user("carol")
	people := []*client.Client{alice, bob, carol}
	for _, x := range people[1:] {
		if err := x.Accept(ctx, alice.User()); err != nil {
			t.Fatal(err)
		}
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range people[1:] {
		within(t, "somebody can be added", func() bool { return alice.AddUser(ctx, room, x.User()) == nil })
	}
	for _, x := range people {
		within(t, "three providers decide", func() bool { v, err := x.Verify(ctx, room); return err == nil && v.Replicas == 3 })
	}
	sent := 0
	say := func(x *client.Client) {
		t.Helper()
		if _, err := x.Send(ctx, room, fmt.Sprint(sent)); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	have := func(who ...*client.Client) {
		t.Helper()
		for _, x := range who {
			within(t, fmt.Sprintf("%s has %d messages", x.User(), sent), func() bool {
				list, err := x.Messages(room, 0, 1000)
				if err != nil || len(list) != sent {
					return false
				}
				for _, m := range list {
					if m.State != client.StateFinal {
						return false
					}
				}
				return true
			})
		}
	}
	for _, x := range people {
		say(x)
	}
	have(people...)

	a.stop()
	say(bob)
	say(carol)
	have(bob, carol)
	v, err := carol.Verify(ctx, room)
	if err != nil || v.Hub == "atlanta.example" || v.Term == "0.1" {
		t.Fatalf("the room is ordered by %s in term %s, %v", v.Hub, v.Term, err)
	}
	var silent, changed bool
	within(t, "carol is told", func() bool {
		for {
			select {
			case n := <-carol.Events():
				switch n := n.(type) {
				case client.HubSilent:
					silent = silent || n.Silent && n.Moves && n.Hub == "atlanta.example"
				case client.HubChanged:
					changed = changed || n.Hub == v.Hub
				}
			default:
				return silent && changed
			}
		}
	})
	a.must()
	say(alice)
	have(people...)
	for _, x := range people {
		within(t, "all have one log", func() bool {
			first, err := alice.Verify(ctx, room)
			v, err2 := x.Verify(ctx, room)
			return err == nil && err2 == nil && v == first
		})
	}

	// The operator of the hub hands everything over: to the next one in the set.
	nodes := map[string]*running{"atlanta.example": a, "biloxi.example": b, "chicago.example": c}
	at := nodes[v.Hub]
	shown := func(r *running) *admin.Room {
		t.Helper()
		x, err := r.operator().Room(ctx, room.String())
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	drained := func(to string) {
		t.Helper()
		d, err := at.operator().Drain(ctx, nil)
		if err != nil || d.Rooms != 1 || d.Moved != 1 || d.Stayed != 0 || d.Voter != 1 {
			t.Fatalf("draining %s: %+v, %v", at.cfg.Domain, d, err)
		}
		if x := shown(at); x.Hub != to || x.Role != "replica" || len(x.Replicas) != 3 || x.ReleasedTo != "" {
			t.Fatalf("the room of %s went to %+v, not to %s", at.cfg.Domain, x, to)
		}
		within(t, "the new one knows", func() bool { return shown(nodes[to]).Role == "hub" })
		at = nodes[to]
	}
	behind := func(domain string, n int) string {
		set := shown(at).Replicas
		return set[(slices.Index(set, domain)+n)%len(set)]
	}
	_, err = at.operator().MoveRoom(ctx, room.String(), "dallas.example")
	refusedWith(t, err, "it can go to "+behind(at.cfg.Domain, 1)+", "+behind(at.cfg.Domain, 2))
	drained(behind(at.cfg.Domain, 1))
	for _, x := range people {
		say(x)
	}
	have(people...)
	// The next one is dead: it goes to the one after.
	dead, next := nodes[behind(at.cfg.Domain, 1)], behind(at.cfg.Domain, 2)
	dead.stop()
	drained(next)
	dead.must()
	for _, x := range people {
		say(x)
	}
	have(people...)

	// What only one has is not final, and no fault.
	for at != a {
		within(t, "atlanta can order it", func() bool {
			_, err := at.operator().MoveRoom(ctx, room.String(), "atlanta.example")
			return err == nil
		})
		at = a
	}
	b.stop()
	c.stop()
	if _, err := alice.Send(ctx, room, "unfinal"); err != nil {
		t.Fatal(err)
	}
	within(t, "it is here", func() bool { return shown(a).Unfinal == 1 })
	for _, r := range []*running{a, b, c} {
		r.stop()
		r.whole()
	}

	batch := func(tx *store.Tx) (store.Key, []byte) { // the last one
		for it, err := range tx.Scan(store.Scan{Prefix: store.RoomBatches(roomOf(tx)), Reverse: true}) {
			if err != nil {
				break
			}
			return it.Key, it.Value
		}
		panic("no batch")
	}
	replica := func(tx *store.Tx) store.Key {
		id := roomOf(tx)
		return store.SpaceReplica.Key(append(id[:], 0))
	}
	state := func(tx *store.Tx, fn func(s *hub.State, voted *logstore.VotedSet)) error {
		var n domains
		id := protocolroom.ID(roomOf(tx))
		s, voted, marks, err := logstore.ReadReplica(tx, id, &n)
		if err != nil {
			return err
		}
		fn(&s, &voted)
		return logstore.PutReplica(tx, id, s, voted, marks, &n)
	}
	tail := func(tx *store.Tx, what byte) (store.Key, []byte) {
		id := roomOf(tx)
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceReplica.Prefix(append(id[:], what))}) {
			if err != nil {
				break
			}
			return it.Key, it.Value
		}
		panic("no tail")
	}
	tailHash := func(tx *store.Tx) protocolroom.Hash {
		_, v := tail(tx, 1)
		e, err := protocolroom.ParseEntry(v)
		if err != nil {
			panic(err)
		}
		return e.Hash()
	}
	// conflict is the proof that another entry at the end of the log is final, too.
	conflict := func(change func(c *logstore.Condemned, own *protocolroom.Entry)) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			id := protocolroom.ID(roomOf(tx))
			h, err := logstore.ReadHead(tx, id)
			if err != nil {
				return err
			}
			own, err := logstore.ReadEntry(tx, id, h.At.Next-1)
			if err != nil {
				return err
			}
			other := *own
			other.AcceptedAt++
			cert := &protocolroom.Certificate{Head: protocolroom.HeadOf(&other)}
			for _, r := range []*running{b, c} {
				cert.Signers = append(cert.Signers, protocolroom.Signer{Domain: r.cfg.Domain, CoSignature: protocolroom.CoSign(cert.Head, r.providerKey())})
			}
			p := &logstore.Condemned{Room: id, Why: "planted", Head: protocolroom.SignHead(cert.Head, b.providerKey()), Cert: cert, Entries: []*protocolroom.Entry{&other}}
			change(p, own)
			return logstore.PutCondemned(tx, p)
		}
	}
	checked := b.verified(conflict(func(*logstore.Condemned, *protocolroom.Entry) {}))
	if notes := strings.Join(checked.Notes, "; "); len(checked.Faults) > 0 || !strings.Contains(notes, "two histories of it are final") || !strings.Contains(notes, "biloxi.example, chicago.example: it stands still") {
		t.Errorf("two final histories: faults %q, notes %q", checked.Faults, notes)
	}
	// twice is the proof that chicago has voted twice in one term.
	twice := func(change func(v *logstore.Voted)) func(tx *store.Tx) error {
		return func(tx *store.Tx) error {
			id := protocolroom.ID(roomOf(tx))
			one := protocolroom.Vote{Room: id, Term: protocolroom.Term{Number: 9}, Candidate: a.cfg.Domain,
				Head: protocolroom.Head{Room: id, Term: protocolroom.FirstTerm, Seq: 1}}
			other := one
			other.Candidate = b.cfg.Domain
			v := &logstore.Voted{Key: [32]byte(c.providerKey().Public().(ed25519.PublicKey)), Proof: protocolroom.DoubleVote{
				A: protocolroom.SignVote(one, c.cfg.Domain, c.providerKey()), B: protocolroom.SignVote(other, c.cfg.Domain, c.providerKey())}}
			change(v)
			return logstore.PutVoted(tx, v)
		}
	}
	checked = b.verified(twice(func(*logstore.Voted) {}))
	if notes := strings.Join(checked.Notes, "; "); len(checked.Faults) > 0 || !strings.Contains(notes, "chicago.example has voted twice in term 0.9") || !strings.Contains(notes, "counts as failed") {
		t.Errorf("two votes: faults %q, notes %q", checked.Faults, notes)
	}
	for _, x := range []struct {
		why  string
		want string // of the fault; "" if it is none
		r    *running
		fn   func(tx *store.Tx) error
	}{
		{"a co-signature changed", "signature", b, func(tx *store.Tx) error {
			k, v := batch(tx)
			v[len(v)-1] ^= 1
			return tx.Set(k, v)
		}},
		{"a signer changed", "who are no majority", b, func(tx *store.Tx) error {
			k, v := batch(tx)
			i := bytes.LastIndex(v, []byte("chicago.example"))
			if i < 0 {
				if i = bytes.LastIndex(v, []byte("biloxi.example")); i < 0 {
					return errors.New("no signer")
				}
				v[i+len("bilox")-1] ^= 1
				return tx.Set(k, v)
			}
			copy(v[i:], "chicagp.example")
			return tx.Set(k, v)
		}},
		{"a certificate is missing", "no certificate", b, func(tx *store.Tx) error {
			k, v := batch(tx)
			v[0] = 1
			return tx.Set(k, v[:1+8+149])
		}},
		{"votes are missing", "nothing is kept of votes", b, func(tx *store.Tx) error { return tx.Delete(replica(tx)) }},
		{"the highest term is lower", "highest one seen", b, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Seen.Number = 1 })
		}},
		{"a vote is in a term never seen", "a vote in term", b, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Vote.Term = s.Seen; s.Vote.Term.Number++ })
		}},
		{"a set was voted for in a term never seen", "a replica set was voted for", b, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, v *logstore.VotedSet) { v.Term = s.Seen; v.Term.Number++ })
		}},
		{"another entry is said to be final", "is said to be final", b, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Final.Head.Hash[3] ^= 1 })
		}},
		{"less is said to be final", "is said to be final", b, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Final.Head.Seq-- })
		}},
		{"nothing is said to be final", "is said to be final", b, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Final.Head.Seq = 0 })
		}},
		{"more is said to be final than there is", "is said to be final", a, func(tx *store.Tx) error {
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Final.Head.Seq += 2 })
		}},
		{"what follows is final, and not in the log yet", "", a, func(tx *store.Tx) error {
			h := tailHash(tx)
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Final.Head.Seq++; s.Final.Head.Hash = h })
		}},
		{"what follows is final by another hash", "is said to be final", a, func(tx *store.Tx) error {
			h := tailHash(tx)
			h[0] ^= 1
			return state(tx, func(s *hub.State, _ *logstore.VotedSet) { s.Final.Head.Seq++; s.Final.Head.Hash = h })
		}},
		{"an entry that is not final changed", "head that its hub has not signed", a, func(tx *store.Tx) error {
			k, v := tail(tx, 1)
			e, err := protocolroom.ParseEntry(v)
			if err != nil {
				return err
			}
			e.AcceptedAt++
			return tx.Set(k, e.Append(nil))
		}},
		{"the head of one that is not final changed", "head that its hub has not signed", a, func(tx *store.Tx) error {
			k, v := tail(tx, 2)
			v[len(v)-1] ^= 1
			return tx.Set(k, v)
		}},
		{"an entry that is not final does not connect", "which is not final", a, func(tx *store.Tx) error {
			k, v := tail(tx, 1)
			e, err := protocolroom.ParseEntry(v)
			if err != nil {
				return err
			}
			e.Prev[0] ^= 1
			return tx.Set(k, e.Append(nil))
		}},
		{"an entry hangs in the air", "unfinal entry", b, func(tx *store.Tx) error {
			id := roomOf(tx)
			for it, err := range tx.Scan(store.Scan{Prefix: store.RoomEntries(id), Limit: 1}) {
				if err != nil {
					return err
				}
				return tx.Set(store.SpaceReplica.Key(append(append(id[:], 1), 0, 0, 0, 0, 0, 0, 1, 0)), it.Value)
			}
			return errors.New("no entry")
		}},
		{"the head names another who decides", "who decides", b, func(tx *store.Tx) error {
			h, err := logstore.ReadHead(tx, protocolroom.ID(roomOf(tx)))
			if err != nil {
				return err
			}
			h.Set = h.Set[:2]
			return logstore.PutHead(tx, h)
		}},
		{"a proof is of another room", "proof against its hub", b, func(tx *store.Tx) error {
			return logstore.PutCondemned(tx, &logstore.Condemned{Room: protocolroom.ID(roomOf(tx)), Why: "planted"})
		}},
		{"one of two votes is forged", "two votes of chicago.example", b, twice(func(v *logstore.Voted) { v.Proof.B.Signature[0] ^= 1 })},
		{"two votes are one", "two votes of chicago.example", b, twice(func(v *logstore.Voted) { v.Proof.B = v.Proof.A })},
		{"the other history is the same one", "is the log's", b, conflict(func(c *logstore.Condemned, own *protocolroom.Entry) { c.Entries[0] = own })},
		{"the other history is certified by one", "who are no majority", b, conflict(func(c *logstore.Condemned, _ *protocolroom.Entry) { c.Cert.Signers = c.Cert.Signers[:1] })},
		{"the other history's certificate is forged", "signature", b, conflict(func(c *logstore.Condemned, _ *protocolroom.Entry) { c.Cert.Signers[1].Signature[0] ^= 1 })},
		{"the other history does not continue the log", "two histories", b, conflict(func(c *logstore.Condemned, _ *protocolroom.Entry) { c.Entries[0].Prev[0] ^= 1 })},
	} {
		faults := strings.Join(x.r.altered(x.fn), "; ")
		if (x.want == "") != (faults == "") || !strings.Contains(faults, x.want) {
			t.Errorf("%s: %q, expected %q", x.why, faults, x.want)
		} else {
			t.Logf("%s: %s", x.why, faults)
		}
	}
}

// domains number providers.
type domains []string

func (d *domains) Name(p hub.Provider) string { return (*d)[p-1] }

func (d *domains) Number(domain string) hub.Provider {
	i := slices.Index(*d, domain)
	if i < 0 {
		i = len(*d)
		*d = append(*d, domain)
	}
	return hub.Provider(i + 1)
}

// operator talks to a running node as its operator does.
func (r *running) operator() *admin.Client {
	r.t.Helper()
	a, err := admin.Dial(r.t.Context(), r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(a.Close)
	return a
}

// roomOf is the one room that is in a store.
func roomOf(tx *store.Tx) store.RoomID {
	for it, err := range tx.Scan(store.Scan{Prefix: store.RoomHeads(), KeysOnly: true}) {
		if err != nil {
			panic(err)
		}
		id, err := store.ParseRoomHead(it.Key)
		if err != nil {
			panic(err)
		}
		return id
	}
	panic("no room")
}

// whole checks a stopped node's store, in which there is no fault.
func (r *running) whole() {
	r.t.Helper()
	cfg, err := node.ReadConfig(r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	if v, err := node.Verify(r.t.Context(), cfg, nil); err != nil || len(v.Faults) > 0 || v.Rooms == 0 {
		r.t.Errorf("%s: %+v, %v", cfg.Domain, v, err)
	}
}

// altered alters a copy of a stopped node's store and returns the faults found in it.
func (r *running) altered(fn func(tx *store.Tx) error) []string { return r.verified(fn).Faults }

// verified alters a copy of a stopped node's store and checks it.
func (r *running) verified(fn func(tx *store.Tx) error) *admin.Verification {
	t := r.t
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(dir, "keys", "*.pem"))
	if err != nil || len(keys) == 0 {
		t.Fatal(keys, err)
	}
	for _, f := range keys {
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(store.Options{Dir: filepath.Join(dir, "store")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { st.Run(ctx); close(done) }()
	err = st.Update(ctx, fn)
	cancel()
	if err := errors.Join(err, st.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
	<-done
	cfg, err := node.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := node.Verify(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// providerKey reads the key by which a node signs in rooms.
func (r *running) providerKey() ed25519.PrivateKey {
	b, err := os.ReadFile(filepath.Join(r.dir, "keys", "provider-1.pem"))
	if err != nil {
		r.t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

func refusedWith(t *testing.T, err error, text string) {
	t.Helper()
	var p *clientapi.Problem
	if !errors.As(err, &p) || !strings.Contains(p.Detail, text) {
		t.Errorf("%v, expected %q", err, text)
	}
}
