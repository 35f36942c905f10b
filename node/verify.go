package node

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Verify checks the store of a data directory whose node does not run, from end to
// end: the files' checksums, for each room the whole log anew, as if another provider had
// sent it, each attachment, and each record of everything else. progress, if not nil, is called now and then.
//
// The result lists faults; the error says that there was no checking, for example
// store.ErrLocked while the node runs.
func Verify(ctx context.Context, cfg *Config, progress func(rooms int, entries uint64)) (*admin.Verification, error) {
	keys, err := ReadKeys(cfg.Dir)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(store.Options{Dir: filepath.Join(cfg.Dir, "store"), Small: cfg.Store.Small})
	if errors.Is(err, store.ErrLocked) {
		return nil, fmt.Errorf("a node runs on %s: stop it, or have it check by itself with --running: %w", cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	defer st.Close(context.WithoutCancel(ctx))
	// An overlay that is never run knows the keys of other providers.
	o, err := overlay.New(overlay.Config{Domain: cfg.Domain, ProviderKey: keys.present(), NodeKey: keys.node, KV: kv{st}, Pins: cfg.Trust.Pins})
	if err != nil {
		return nil, err
	}
	p := &providers{domain: cfg.Domain, keys: keys, overlay: o}
	return verify(ctx, st, filepath.Join(cfg.Dir, assetsName), room.Rules{Auth: newAuth(p.anchors), Anchors: p.anchors}, progress)
}

// newAuth judges credentials with a cache of its own.
func newAuth(anchors func(string) []crypto.PublicKey) *x509auth.Authenticator {
	a, err := x509auth.New(x509auth.Options{Anchors: anchors})
	if err != nil {
		panic("node: " + err.Error()) // only without anchors
	}
	return a
}

func verify(ctx context.Context, st *store.Store, files string, rules room.Rules, progress func(int, uint64)) (*admin.Verification, error) {
	start := time.Now()
	out := new(admin.Verification)
	if err := st.Verify(); err != nil {
		if !errors.Is(err, store.ErrCorrupted) {
			return nil, err
		}
		out.Faults = append(out.Faults, err.Error())
	}
	var heads []*logstore.Head
	err := st.View(func(tx *store.Tx) error {
		for h, err := range logstore.Heads(tx) {
			if err != nil {
				out.Faults = append(out.Faults, err.Error())
				continue
			}
			heads = append(heads, h)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, h := range heads {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		// One room, one snapshot: a running node may go on meanwhile.
		err := st.View(func(tx *store.Tx) error {
			v := &verifier{tx: tx, id: h.ID(), rules: rules, note: func(s string) {
				out.Notes = append(out.Notes, fmt.Sprintf("room %s: %s", h.URI, s))
			}, seen: func() {
				if out.Entries++; progress != nil && out.Entries%10_000 == 0 {
					progress(out.Rooms, out.Entries)
				}
			}}
			return v.room()
		})
		if err != nil {
			out.Faults = append(out.Faults, fmt.Sprintf("room %s: %s", h.URI, err))
		}
		out.Rooms++
	}
	others, err := verifySpaces(ctx, st)
	if err != nil {
		return nil, err
	}
	out.Faults = append(out.Faults, others...)
	kept, err := assets.Verify(ctx, st, files)
	if err != nil {
		return nil, err
	}
	out.Assets, out.Faults = kept.Assets, append(out.Faults, kept.Faults...)
	out.Took = time.Since(start)
	return out, nil
}

// verifier replays one room.
type verifier struct {
	tx    *store.Tx
	id    room.ID
	rules room.Rules
	seen  func()
	note  func(string)

	at    room.Position
	state *room.State
	feed  uint64
	later []room.Head // that certificates cite beyond their batch
}

func (v *verifier) room() error {
	stored, head, err := logstore.Load(v.tx, v.id, v.rules)
	if err != nil {
		return err
	}
	cutting, err := logstore.Cutting(v.tx, v.id)
	if err != nil {
		return err
	}
	for b, err := range logstore.Batches(v.tx, v.id, 0) {
		if err != nil {
			return err
		}
		if cutting != nil && b.Head.Seq >= head.At.Next {
			break // of a branch that the next start takes away
		}
		if b.Feed <= v.feed {
			return fmt.Errorf("batch %d is at position %d of the feed, the one before at %d", b.Head.Seq, b.Feed, v.feed)
		}
		v.feed = b.Feed
		if err := v.batch(b); err != nil {
			return fmt.Errorf("entries %d to %d: %w", v.at.Next, b.Head.Seq, err)
		}
	}
	if err := v.compare(stored, head); err != nil {
		return err
	}
	if err := v.condemned(); err != nil {
		return err
	}
	if err := v.votedTwice(); err != nil {
		return err
	}
	if err := v.branches(); err != nil {
		return err
	}
	return v.replica()
}

func (v *verifier) batch(b logstore.Batch) error {
	raw, err := logstore.Entries(v.tx, v.id, v.at.Next, b.Head.Seq)
	if err != nil {
		return err
	}
	var entries []*room.Entry
	for _, r := range raw {
		e, err := room.ParseEntry(r)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		v.seen()
	}
	rest := entries
	if v.state == nil {
		if v.state, err = room.Begin(entries[0], v.rules); err != nil {
			return err
		}
		rest = entries[1:]
	}
	held := map[uint64]room.Hash{}
	for _, e := range entries {
		held[e.Seq] = e.Hash()
	}
	for _, e := range rest {
		st, err := v.state.Check(e)
		if err == nil {
			err = v.cited(st.Cites(), held)
		}
		if err == nil {
			err = v.state.Advance(st)
		}
		if err != nil {
			return err
		}
	}
	if err := v.final(b, held); err != nil {
		return err
	}
	// A batch may run through a hub_change, and ends under the new hub's head.
	if _, err := room.Verify(v.id, v.at, entries, &b.Head, ed25519.PublicKey(v.state.HubKey())); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Txn == (room.TxnID{}) {
			continue
		}
		if seq, err := logstore.SeqOf(v.tx, v.id, e.Txn); err != nil || seq != e.Seq {
			return fmt.Errorf("entry %d is not in the index of submissions (%d, %v)", e.Seq, seq, err)
		}
	}
	v.at = v.state.At()
	return nil
}

// cited says whether the log holds heads that a certificate is about. held are the
// entries of the batch at hand. Heads beyond it are checked when the log has been read.
func (v *verifier) cited(heads []room.Head, held map[uint64]room.Hash) error {
	for _, h := range heads {
		got, ok := held[h.Seq]
		if !ok && h.Seq < v.at.Next {
			e, err := logstore.ReadEntry(v.tx, v.id, h.Seq)
			if err != nil {
				return err
			}
			got, ok = e.Hash(), true
		}
		if !ok {
			v.later = append(v.later, h)
		} else if got != h.Hash {
			return fmt.Errorf("a certificate is about another entry %d than the log's", h.Seq)
		}
	}
	return nil
}

// final says whether a batch is final: by the certificate of its head, signed by a
// majority of the replicas in force there, or because its hub alone decides.
func (v *verifier) final(b logstore.Batch, held map[uint64]room.Hash) error {
	lead := v.state.Lead()
	alone := len(lead.Now) == 1 && !lead.Changing() && lead.Now[0].Domain == lead.Hub.Domain
	c := b.Cert
	switch {
	case c == nil && alone:
		return nil
	case c == nil:
		return fmt.Errorf("head %d has no certificate, and %d replicas decide", b.Head.Seq, len(lead.Now))
	case c.Head != b.Head.Head:
		return fmt.Errorf("head %d has the certificate of head %d", b.Head.Seq, c.Head.Seq)
	case !lead.Quorum(c.Domains()):
		return fmt.Errorf("head %d is certified by %s, who are no majority", b.Head.Seq, strings.Join(c.Domains(), ", "))
	}
	err := c.Verify(v.id, func(domain string) (ed25519.PublicKey, bool) {
		x, ok := lead.Replica(domain)
		if !ok {
			return nil, false
		}
		return x.ProviderKey[:], true
	})
	if err != nil {
		return err
	}
	return v.cited(c.Cites(), held)
}

// condemned says whether a proof that is kept can be shown to anybody.
func (v *verifier) condemned() error {
	c, err := logstore.ReadCondemned(v.tx, v.id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case c.Head.Room != v.id || c.Low != nil && c.Low.Room != v.id:
		return errors.New("the proof against its hub is about another room")
	}
	for _, e := range c.Entries {
		if e.Room != v.id {
			return errors.New("the proof against its hub has an entry of another room")
		}
	}
	if c.Cert != nil {
		if err := v.conflict(c); err != nil {
			return fmt.Errorf("the proof that two histories are final: %w", err)
		}
	}
	return nil
}

// conflict checks the proof that another history than the log is final, too, by the log up to
// where they part, and notes it.
func (v *verifier) conflict(c *logstore.Condemned) error {
	if len(c.Entries) == 0 {
		return errors.New("it has no entry")
	}
	first := c.Entries[0].Seq
	own, err := logstore.ReadEntry(v.tx, v.id, first)
	if err != nil {
		return err
	}
	if own.Hash() == c.Entries[0].Hash() {
		return fmt.Errorf("its entry %d is the log's", first)
	}
	w, err := v.upTo(first)
	if err != nil {
		return err
	}
	held := map[uint64]room.Hash{}
	for _, e := range c.Entries {
		st, err := w.state.Check(e)
		if err == nil {
			err = w.state.Advance(st)
		}
		if err != nil {
			return err
		}
		held[e.Seq] = e.Hash()
	}
	lead := w.state.Lead()
	if !lead.Quorum(c.Cert.Domains()) {
		return fmt.Errorf("it is certified by %s, who are no majority", strings.Join(c.Cert.Domains(), ", "))
	}
	err = c.Cert.Verify(v.id, func(domain string) (ed25519.PublicKey, bool) {
		x, ok := lead.Replica(domain)
		if !ok {
			return nil, false
		}
		return x.ProviderKey[:], true
	})
	if err != nil {
		return err
	}
	for _, h := range c.Cert.Cites() {
		if held[h.Seq] != h.Hash {
			return fmt.Errorf("its certificate is about an entry %d that is not in it", h.Seq)
		}
	}
	what := "it stands still until an administrator moves it"
	if v.at.Term.Era > c.Cert.Head.Term.Era {
		what = "an administrator has moved it since, on this history"
	}
	v.note(fmt.Sprintf("two histories of it are final, entry %d is %.16s here and %.16s in the other one, certified by %s: %s", first,
		own.Hash(), c.Entries[0].Hash(), strings.Join(c.Cert.Domains(), ", "), what))
	return nil
}

// upTo replays the log up to before a place.
func (v *verifier) upTo(seq uint64) (*verifier, error) {
	w := &verifier{tx: v.tx, id: v.id, rules: v.rules, seen: v.seen}
	for at := uint64(0); at < seq; at++ {
		e, err := logstore.ReadEntry(v.tx, v.id, at)
		if err != nil {
			return nil, err
		}
		if v.seen(); at == 0 {
			if w.state, err = room.Begin(e, v.rules); err != nil {
				return nil, err
			}
			continue
		}
		st, err := w.state.Check(e)
		if err == nil {
			err = w.state.Advance(st)
		}
		if err != nil {
			return nil, err
		}
	}
	if w.state == nil {
		return nil, errors.New("it has another first entry")
	}
	w.at = w.state.At()
	return w, nil
}

// branches says whether what was lost by moves and is kept can be shown to anybody: it
// continues the log, its hub has signed it, and the room moved from before it.
func (v *verifier) branches() error {
	list, err := logstore.Branches(v.tx, v.id)
	if err != nil {
		return err
	}
	for _, b := range list {
		if err := v.branch(b); err != nil {
			return fmt.Errorf("lost branch %d: %w", b.Number, err)
		}
	}
	return nil
}

func (v *verifier) branch(b *logstore.Branch) error {
	// The log up to there, anew: the state has gone on.
	w := &verifier{tx: v.tx, id: v.id, rules: v.rules, seen: v.seen}
	for batch, err := range logstore.Batches(v.tx, v.id, 0) {
		if err != nil {
			return err
		}
		if batch.Head.Seq >= b.From {
			break
		}
		if err := w.batch(batch); err != nil {
			return err
		}
	}
	if w.at.Next != b.From {
		return fmt.Errorf("it begins with entry %d, and the log has a batch up to %d before it", b.From, w.at.Next)
	}
	held := map[uint64]room.Hash{}
	for batch, err := range logstore.BranchBatches(v.tx, b, b.From) {
		if err != nil {
			return err
		}
		var entries []*room.Entry
		for _, raw := range batch.Entries {
			e, err := room.ParseEntry(raw)
			if err != nil {
				return err
			}
			entries = append(entries, e)
			held[e.Seq] = e.Hash()
			v.seen()
			st, err := w.state.Check(e)
			if err == nil {
				err = w.state.Advance(st)
			}
			if err != nil {
				return err
			}
		}
		if _, err := room.Verify(v.id, w.at, entries, &batch.Head, ed25519.PublicKey(w.state.HubKey())); err != nil {
			return err
		}
		w.at = w.state.At()
	}
	if w.at.Next != b.End {
		return fmt.Errorf("it ends with entry %d, and %d were kept", w.at.Next-1, b.End-1)
	}
	move, err := logstore.BranchMove(v.tx, b)
	if err != nil {
		return err
	}
	switch {
	case len(move) == 0 || move[0].Seq != b.Parts || !slices.ContainsFunc(move, func(e *room.Entry) bool {
		return e.Kind == room.KindHubChange && e.Term.Era == b.Era
	}):
		return errors.New("the move that it was lost by is not kept")
	case move[0].Hash() == held[b.Parts]:
		return errors.New("it is the room's log")
	}
	before, ok := held[b.Parts-1]
	if !ok {
		e, err := logstore.ReadEntry(v.tx, v.id, b.Parts-1)
		if err != nil {
			return err
		}
		before = e.Hash()
	}
	if move[0].Prev != before {
		return errors.New("the move that is kept does not continue the log from where it parts")
	}
	return nil
}

// replica says whether what is kept beside the log fits it: votes and terms, and the
// entries that are not final.
func (v *verifier) replica() error {
	var n numbers
	s, voted, _, err := logstore.ReadReplica(v.tx, v.id, &n)
	if errors.Is(err, store.ErrNotFound) {
		if lead := v.state.Lead(); len(lead.Now) > 1 {
			return errors.New("several replicas decide, and nothing is kept of votes")
		}
		return nil
	}
	if err != nil {
		return err
	}
	at := v.state.At()
	tail, heads, err := logstore.Tail(v.tx, v.id, at.Next)
	if err != nil {
		return err
	}
	switch f := s.Final.Head; {
	case s.Vote.Term.Compare(s.Seen) > 0:
		return fmt.Errorf("a vote in term %s is kept, and %s is the highest one seen", s.Vote.Term, s.Seen)
	case voted.Term.Compare(s.Seen) > 0:
		return fmt.Errorf("a replica set was voted for in term %s, and %s is the highest one seen", voted.Term, s.Seen)
	case s.Seen.Compare(at.Term) < 0:
		return fmt.Errorf("the log is in term %s, and %s is the highest one seen", at.Term, s.Seen)
	case f.Seq+1 < at.Next, f.Seq+1 == at.Next && f.Hash != at.Last, f.Seq-at.Next+1 > uint64(len(tail)),
		// More may be final than one write has taken into the log.
		f.Seq >= at.Next && tail[f.Seq-at.Next].Hash() != f.Hash:
		return fmt.Errorf("entry %d is said to be final, the log ends with entry %d, or another one, and %d follow that are not in it", f.Seq, at.Next-1, len(tail))
	}
	for _, e := range tail {
		st, err := v.state.Check(e)
		if err == nil {
			err = v.state.Advance(st)
		}
		if err != nil {
			return fmt.Errorf("entry %d, which is not final: %w", e.Seq, err)
		}
		if h, ok := heads[e.Seq]; ok && (h.Head != room.HeadOf(e) || h.Verify(v.state.HubKey()) != nil) {
			return fmt.Errorf("entry %d, which is not final, has a head that its hub has not signed", e.Seq)
		}
	}
	end := at.Next + uint64(len(tail))
	for _, h := range v.later {
		if h.Seq < end && h.Seq >= at.Next && tail[h.Seq-at.Next].Hash() != h.Hash {
			return fmt.Errorf("a certificate is about another entry %d than the one that is kept", h.Seq)
		}
		if h.Seq < at.Next {
			if e, err := logstore.ReadEntry(v.tx, v.id, h.Seq); err != nil || e.Hash() != h.Hash {
				return fmt.Errorf("a certificate is about another entry %d than the log's (%v)", h.Seq, err)
			}
		}
	}
	return nil
}

// numbers stand for providers while one room is read.
type numbers []string

func (n *numbers) Name(p hub.Provider) string { return (*n)[p-1] }

func (n *numbers) Number(domain string) hub.Provider {
	i := slices.Index(*n, domain)
	if i < 0 {
		i = len(*n)
		*n = append(*n, domain)
	}
	return hub.Provider(i + 1)
}

// compare says whether what is stored beside the log is what the log makes.
func (v *verifier) compare(stored *room.State, head *logstore.Head) error {
	switch s := v.state; {
	case s == nil:
		return errors.New("there is no entry")
	case head.At != s.At():
		return fmt.Errorf("the head says %d entries, the log has %d, or others", head.At.Next, s.At().Next)
	case !stored.Group().Context().Equal(s.Group().Context()):
		return errors.New("the stored group is not the one that the log makes")
	case !bytes.Equal(stored.Group().Tree().Bytes(), s.Group().Tree().Bytes()):
		return errors.New("the stored members are not those that the log makes")
	case !slices.Equal(stored.Participants(), s.Participants()), !slices.Equal(head.Providers, s.Providers()), !slices.Equal(head.Outside, s.Outside()):
		return errors.New("the stored participants are not those that the log makes")
	case head.HubKey != s.Hub().ProviderKey, !slices.Equal(head.Set, membersOf(s)), len(head.Set) > 0 && head.Auto != (s.Hosting().Failover == room.FailoverAuto):
		return errors.New("the stored head does not say who decides, as the log does")
	case head.Hub != s.Hub().Domain, head.Topic != s.Hosting().Topic, head.Epoch != s.Epoch(), head.Feed != v.feed:
		return errors.New("the stored head does not say what the log says")
	case len(stored.Group().Pending()) != len(s.Group().Pending()):
		return errors.New("the stored pending proposals are not those that the log makes")
	}
	return nil
}

// membersOf is who decides about a room as its stored head says it: nobody if that is
// its hub alone, and both sets while one replaces the other.
func membersOf(s *room.State) []logstore.Member {
	now, next := s.Set()
	if len(now) == 1 && len(next) == 0 && now[0].Domain == s.Hub().Domain {
		return nil
	}
	var out []logstore.Member
	for _, x := range slices.Concat(now, next) {
		if m := (logstore.Member{Domain: x.Domain, Key: x.ProviderKey}); !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}
