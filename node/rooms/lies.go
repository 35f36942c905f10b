package rooms

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// This file is what a move can prove about who has lied: then it takes the word of everybody
// else, and needs that of no majority (package hub, "Two final histories").

// liars are who take part and have provably lied, with the proofs as a hub_change holds them.
// One whose proof is too long for that, beside a commit of so many octets, is left out.
func (l *live) liars(to string, commit int) (out []room.Lie) {
	all, err := l.provable()
	if err != nil {
		l.r.log.Error("reading the proofs of lies", "room", l.h.id, "err", err)
	}
	lead, parts, size := l.state.Lead(), l.state.Participating(), 0
	limit := min(room.MaxLieBytes, room.MaxBody-commit-maxAckBytes*(len(parts)+1))
	slices.SortFunc(all, func(a, b room.Lie) int { return strings.Compare(a.Provider, b.Provider) })
	for i := range all {
		x := &all[i]
		n := len(x.Append(nil))
		switch {
		case x.Provider == l.r.cfg.Domain, x.Provider == to, !slices.Contains(parts, x.Provider), len(out) > 0 && out[len(out)-1].Provider == x.Provider:
		case len(out) == room.MaxLies, size+n > limit:
			l.r.log.Warn("the proof of a lie is too long for a move", "room", l.h.id, "provider", x.Provider, "bytes", n)
		case x.Verify(l.h.id, lead.Keys(x.Provider, l.r.cfg.Rules.Anchors)) == nil: // as those will check it who follow the move
			out, size = append(out, *x), size+n
		}
	}
	return out
}

// provable are the proofs that are kept, of hubs and of voters.
func (l *live) provable() (out []room.Lie, err error) {
	var c *logstore.Condemned
	err = l.r.cfg.Store.View(func(tx *store.Tx) (err error) {
		for v, err := range logstore.VotedTwice(tx, l.h.id) {
			if err != nil {
				return err
			}
			out = append(out, room.Lie{Provider: v.Proof.A.Voter, Votes: &v.Proof})
		}
		if c, err = logstore.ReadCondemned(tx, l.h.id); errors.Is(err, store.ErrNotFound) {
			c, err = nil, nil
		}
		return err
	})
	if err != nil || c == nil {
		return out, err
	}
	liar, key := l.signerOf(&c.Head)
	if liar == "" {
		return out, nil
	}
	if c.Low != nil {
		eq := &room.Equivocation{Low: *c.Low, High: c.Head, Entries: c.Entries}
		if eq.Verify(key) == nil {
			return append(out, room.Lie{Provider: liar, Histories: eq}), nil
		}
	}
	// What was kept is the other history. Who has signed that and the one here has lied.
	if len(c.Entries) > 0 && l.rep != nil {
		if eq := l.against(&room.Piece{Head: c.Head, Entries: c.Entries}, key); eq != nil {
			out = append(out, room.Lie{Provider: liar, Histories: eq})
		}
	}
	return out, nil
}

// signerOf is which of those that the log names has signed a head.
func (l *live) signerOf(h *room.SignedHead) (string, ed25519.PublicKey) {
	lead := l.state.Lead()
	for _, d := range append(domainsOf(l.members()), l.state.Participating()...) {
		for _, k := range lead.Keys(d, l.r.cfg.Rules.Anchors) {
			if h.Verify(k) == nil {
				return d, k
			}
		}
	}
	return "", nil
}

// maxAckBytes is more than an acknowledgement takes in a hub_change, with its two domains.
const maxAckBytes = 1024

func providersOf(lies []room.Lie) (out []string) {
	for i := range lies {
		out = append(out, lies[i].Provider)
	}
	return out
}

// numbers are the machine's of those whose lies are proven.
func numbers(n *names, lies []room.Lie) (out hub.Set) {
	for i := range lies {
		out = out.With(n.Number(lies[i].Provider))
	}
	return out
}
