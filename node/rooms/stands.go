package rooms

import (
	"context"
	"slices"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
)

// This file is about two providers that stand at the same place of a room and have different
// entries there. They tell each other the hash of the last entry when they exchange where
// they stand, or when one is nudged; whoever sees another one than its own asks for what is
// there, under the head that its hub has signed, and that is the proof (twoHeads, contradicted).

// fellows says whether another provider and this one both follow a room: whoever orders it
// may show each of them another history, and they may never hear each other's gossip.
func (r *Rooms) fellows(head *logstore.Head, domain string) bool {
	return slices.Contains(head.Providers, domain) && slices.Contains(head.Providers, r.cfg.Domain)
}

// standOf is where a room stands here, to be told.
func standOf(id room.ID, head *logstore.Head) room.Stand {
	return room.Stand{Room: id, Term: head.At.Term, Next: head.At.Next, Last: head.At.Last}
}

// forked says whether somebody stands where this log ends, in the same term and with another
// entry. Who does not say with which has none.
func forked(s room.Stand, at room.Position) bool {
	return s.Next == at.Next && s.Term == at.Term && s.Last != (room.Hash{}) && s.Last != at.Last
}

// otherHead asks a provider for what it has at the end of this log, and judges it.
func (l *live) otherHead(ctx context.Context, from string) error {
	if err := l.h.stopped(); err != nil || l.state == nil {
		return err
	}
	next := l.state.At().Next
	if l.rep != nil {
		next = l.rep.final.Next
	}
	if next == 0 {
		return nil
	}
	p, err := l.r.fetchAt(ctx, from, l.h, room.Stand{Room: l.h.id, Next: next - 1})
	if err != nil || p == nil || len(p.Entries) == 0 || p.Entries[0].Seq != next-1 {
		return err
	}
	return l.ingest(ctx, p, from)
}

// fellow is another provider that follows rooms that this one follows, and is none of asked:
// each time the next one, so that what this costs does not grow with how many there are.
func (r *Rooms) fellow(asked map[string]bool) string {
	in := map[string]bool{}
	for _, h := range r.all() {
		head := h.stand()
		if head == nil || !slices.Contains(head.Providers, r.cfg.Domain) {
			continue
		}
		for _, d := range head.Providers {
			if d != r.cfg.Domain && !asked[d] {
				in[d] = true
			}
		}
	}
	if len(in) == 0 {
		return ""
	}
	var list []string
	for d := range in {
		list = append(list, d)
	}
	slices.Sort(list)
	i, found := slices.BinarySearch(list, r.fellowAsked)
	if found {
		i++
	}
	r.fellowAsked = list[i%len(list)]
	return r.fellowAsked
}
