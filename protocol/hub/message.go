package hub

import (
	"fmt"
	"strings"

	"github.com/mimid/mimid/protocol/room"
)

// A MessageKind names what one provider's machine says to another's.
type MessageKind uint8

// Kinds of messages.
const (
	Append  MessageKind = iota + 1 // hub to all: entries and the signed head that ends them
	CoSign                         // replica to hub: the head is stored here
	Certify                        // hub to all: the certificate of a head
	Refuse                         // to a hub: there is a higher term
	Need                           // to a hub: send entries from my final head on
	AskVote                        // would you vote for me? Nothing is recorded
	Would                          // answer to AskVote
	Stand                          // candidate: vote for me
	Grant                          // answer to Stand
	Release                        // hub to its successor
	Move                           // an admin's commit by way of the provider that it names as hub
	Ack                            // answer to Move
	Ask                            // restored replica: what do you hold?
	Answer                         // answer to Ask
	Convict                        // a proof against a provider
)

var messageNames = [...]string{"?", "append", "co-sign", "certify", "refuse", "need", "ask-vote", "would",
	"stand", "grant", "release", "move", "ack", "ask", "answer", "convict"}

func (k MessageKind) String() string { return messageNames[min(int(k), len(messageNames)-1)] }

// An Excuse stands in for a voter's own suspicion of the hub.
type Excuse uint8

// Excuses. None of them touches any other check of a voter.
const (
	NoExcuse Excuse = iota
	Released        // the hub has released the room to the candidate
	Refused         // the candidate was hub and was refused for a higher term that has no hub
	Asked           // an admin has asked for it, signed
)

// A Message travels between machines. The caller has verified its signatures and
// knows that From is the sender. Which fields a kind uses is said at its handler.
type Message struct {
	Kind     MessageKind
	From, To Provider
	Term     room.Term
	Head     Head
	Entries  []*Entry
	Final    Certificate
	Grant    bool
	Excuse   Excuse
	Seen     room.Term
	Hub      Provider
	Set      Set
	Proof    Proof
	// Common, of a Move that does not continue our log but the other of two final ones: the
	// last place that both have. It does not travel: whoever hears the move compares.
	Common Head
}

// String is for traces: who to whom, what, and the values that decide.
func (m *Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s>%s %s", m.From, m.To, m.Kind)
	if m.Term != (room.Term{}) {
		fmt.Fprintf(&b, " term %s", m.Term)
	}
	if m.Head != (Head{}) {
		fmt.Fprintf(&b, " head %s", m.Head)
	}
	switch m.Kind {
	case Would, Grant, Ack:
		fmt.Fprintf(&b, " %v", m.Grant)
	case Append, Release, Answer:
		if len(m.Entries) > 0 {
			fmt.Fprintf(&b, " entries %s", entriesText(m.Entries))
		}
	}
	if m.Final.Head.Seq > 0 {
		fmt.Fprintf(&b, " final %d", m.Final.Head.Seq)
	}
	if m.Seen != (room.Term{}) {
		fmt.Fprintf(&b, " seen %s", m.Seen)
	}
	if m.Hub != 0 {
		fmt.Fprintf(&b, " hub %s", m.Hub)
	}
	if m.Excuse != NoExcuse {
		fmt.Fprintf(&b, " %s", [...]string{"", "released", "refused", "asked", "?"}[min(m.Excuse, 4)])
	}
	if len(m.Set) > 0 {
		fmt.Fprintf(&b, " set %s", m.Set)
	}
	if m.Kind == Convict {
		fmt.Fprintf(&b, " liar %s term %s: %s and %s", m.Proof.Liar, m.Proof.Term, m.Proof.A, m.Proof.B)
	}
	return b.String()
}

// String is A for 1, B for 2: for traces and tests only.
func (p Provider) String() string {
	if p == 0 {
		return "-"
	}
	if p <= 26 {
		return string(rune('A' + p - 1))
	}
	return fmt.Sprintf("P%d", uint16(p))
}

// String lists the providers without a separator.
func (s Set) String() string {
	var b strings.Builder
	for _, p := range s {
		b.WriteString(p.String())
	}
	return b.String()
}

// String is the place and the term: 3@0.2. Hashes are left out, so that traces
// stay when formats change.
func (h Head) String() string { return fmt.Sprintf("%d@%s", h.Seq, h.Term) }

// String is one word for an entry.
func (e *Entry) String() string {
	s := e.Head().String()
	switch e.Kind {
	case Create:
		return s + ":create(" + e.Set.String() + ")"
	case Handshake:
		if len(e.Set) > 0 {
			return s + ":set(" + e.Set.String() + ")"
		}
		return s + ":handshake"
	case Change:
		if len(e.Set) > 0 {
			return s + ":hub(" + e.Hub.String() + " by " + e.Voters.String() + without(e.Liars) + ", set " + e.Set.String() + ")"
		}
		return s + ":hub(" + e.Hub.String() + " by " + e.Voters.String() + ")"
	case Settled:
		return s + ":settled(" + e.Voters.String() + ")"
	}
	return fmt.Sprintf("%s:m%x", s, e.Txn[:1])
}

func without(liars Set) string {
	if len(liars) == 0 {
		return ""
	}
	return " without " + liars.String()
}

func entriesText(es []*Entry) string {
	var out []string
	for _, e := range es {
		if e == nil {
			out = append(out, "nothing")
			continue
		}
		out = append(out, e.String())
	}
	return strings.Join(out, " ")
}
