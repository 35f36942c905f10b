package hub

import "github.com/mimid/mimid/protocol/room"

// An Outbox is an origin's: it keeps what was submitted until it is final, and
// submits it again to every new hub. Accepted is a promise of one hub only. The
// zero Outbox is empty; like a Machine it is a value.
type Outbox struct {
	items []item
}

type item struct {
	txn       room.TxnID
	handshake bool
	set       Set
	sent      room.Term // submitted to the hub of this term
	gone      bool
}

// Add returns the outbox with one more submission, as a Submit event.
func (o Outbox) Add(ev Event) Outbox {
	return Outbox{append(o.items[:len(o.items):len(o.items)], item{txn: ev.Txn, handshake: ev.Handshake, set: ev.Set})}
}

// Due returns the submissions that the hub of a term has not got yet. A handshake
// is made for one place in the log: after another hub has taken over it is not
// submitted again, but given back (Lost).
func (o Outbox) Due(t room.Term) []Event {
	var out []Event
	for _, it := range o.items {
		first := it.sent == (room.Term{})
		if it.gone || it.sent.Compare(t) >= 0 || !first && it.handshake || !first && mutant == forgetResubmission {
			continue
		}
		out = append(out, Event{Kind: Submit, Txn: it.txn, Handshake: it.handshake, Set: it.set})
	}
	return out
}

// Sent notes that a submission has gone to the hub of a term.
func (o Outbox) Sent(txn room.TxnID, t room.Term) Outbox {
	return o.edit(func(it *item) {
		if it.txn == txn {
			it.sent = later(it.sent, t)
		}
	})
}

// Final drops what is final in a log.
func (o Outbox) Final(log Log, head Head) Outbox {
	return o.edit(func(it *item) {
		if at := log.Find(it.txn); at != 0 && at <= head.Seq {
			it.gone = true
		}
	})
}

// Waiting returns the messages that are not final yet.
func (o Outbox) Waiting() []room.TxnID {
	var out []room.TxnID
	for _, it := range o.items {
		if !it.gone {
			out = append(out, it.txn)
		}
	}
	return out
}

func (o Outbox) edit(f func(*item)) Outbox {
	items := append([]item(nil), o.items...)
	for i := range items {
		f(&items[i])
	}
	return Outbox{items}
}
