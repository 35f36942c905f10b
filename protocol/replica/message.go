package replica

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
)

// ErrMessage: a message that decodes and makes no sense.
var ErrMessage = errors.New("replica: invalid message")

// Kind says what a message is.
type Kind uint8

// Kinds of messages, as package hub explains them.
const (
	CoSign  Kind = 1  // the log up to a head is stored here
	Refuse  Kind = 2  // there is a higher term
	Need    Kind = 3  // I cannot connect what you sent to my final head
	AskVote Kind = 4  // would you vote for me?
	Would   Kind = 5  // answer to it
	Stand   Kind = 6  // vote for me
	Grant   Kind = 7  // answer to it, with the vote if it is one
	Release Kind = 8  // the room is yours
	Ask     Kind = 9  // I come from a backup: what do you hold?
	Answer  Kind = 10 // answer to it
	Move    Kind = 11 // an administrator's commit moves the room to me
	Ack     Kind = 12 // answer to it, with the acknowledgement if it is one
	Show    Kind = 13 // a piece of the log, which proves something against its hub
	Relayed Kind = 14 // a submission that the hub leaves lying
	Voted   Kind = 15 // the proof that somebody has voted twice in one term
)

var kindNames = [...]string{CoSign: "co-sign", Refuse: "refuse", Need: "need", AskVote: "ask-vote", Would: "would", Stand: "stand",
	Grant: "grant", Release: "release", Ask: "ask", Answer: "answer", Move: "move", Ack: "ack", Show: "show", Relayed: "relayed", Voted: "voted-twice"}

func (k Kind) String() string {
	if k < CoSign || k > Voted {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// A Message is one provider's to another about one room. Which fields a kind has
// is said in the package doc.
type Message struct {
	Room   room.ID
	Kind   Kind
	Term   room.Term
	Seen   room.Term
	Head   hub.Head
	Grant  bool // Would; of Grant that there is a Vote, of Ack that there is an Ack
	Excuse hub.Excuse
	Hub    string
	Sign   *room.CoSignature
	Vote   *room.SignedVote // Grant and Release; of Stand the release that is its excuse
	Set    room.Hash        // of Stand: the set in force at the candidate's head, which a vote binds
	Final  hub.Head         // of Move: what is final at who says it; Head is the newest handshake there
	Commit []byte           // of Move: a Handshake, whose room_hosting names hub and set; of Stand, if asked to: one that wants the sender as hub
	Ack    *room.SignedAck  // of Ack
	Piece  []byte           // of Show: a room.Piece
	Relay  *Relay           // of Relayed
	Twice  *room.DoubleVote // of Voted
}

// Bounds of one request.
const (
	MaxMessages = 4096
	MaxBytes    = 1 << 20
)

// Append appends the encoding of Messages.
func Append(b []byte, list []*Message) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, m := range list {
			b = m.append(b)
		}
		return b
	})
}

// Parse reads Messages.
func Parse(b []byte) ([]*Message, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("reading messages of %d bytes (limit %d): %w", len(b), MaxBytes, presentation.ErrTooLarge)
	}
	var out []*Message
	r := presentation.NewReader(b)
	r.List(MaxMessages, func() {
		m := new(Message)
		m.read(r)
		out = append(out, m)
	})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading messages: %w", err)
	}
	return out, nil
}

func (m *Message) append(b []byte) []byte {
	b = append(append(b, m.Room[:]...), byte(m.Kind))
	switch m.Kind {
	case CoSign:
		return m.Sign.Append(b)
	case Refuse:
		return presentation.AppendOpaque(appendTerm(appendTerm(b, m.Term), m.Seen), []byte(m.Hub))
	case Need, Ask:
		return appendPlace(b, m.Head)
	case AskVote:
		return appendPlace(appendTerm(b, m.Term), m.Head)
	case Would:
		return presentation.AppendOptional(appendTerm(appendTerm(b, m.Term), m.Seen), m.Grant)
	case Stand:
		b = append(append(appendPlace(appendTerm(b, m.Term), m.Head), byte(m.Excuse)), m.Set[:]...)
		if b = presentation.AppendOptional(b, m.Vote != nil); m.Vote != nil {
			b = m.Vote.Append(b)
		}
		if m.Excuse == hub.Asked {
			b = presentation.AppendOpaque(b, m.Commit)
		}
		return b
	case Grant:
		b = appendTerm(appendPlace(appendTerm(b, m.Term), m.Head), m.Seen)
		if b = presentation.AppendOptional(b, m.Vote != nil); m.Vote != nil {
			b = m.Vote.Append(b)
		}
		return b
	case Release:
		return m.Vote.Append(b)
	case Answer:
		return appendTerm(appendPlace(b, m.Head), m.Seen)
	case Show:
		return presentation.AppendOpaque(b, m.Piece)
	case Relayed:
		return m.Relay.append(b)
	case Voted:
		return m.Twice.Append(b)
	case Move:
		return presentation.AppendOpaque(appendPlace(appendPlace(appendTerm(b, m.Term), m.Head), m.Final), m.Commit)
	case Ack:
		b = appendTerm(appendPlace(appendTerm(b, m.Term), m.Head), m.Seen)
		if b = presentation.AppendOptional(b, m.Ack != nil); m.Ack != nil {
			b = m.Ack.Append(b)
		}
		return b
	}
	panic("replica: message of kind " + m.Kind.String())
}

func (m *Message) read(r *presentation.Reader) {
	copy(m.Room[:], r.Fixed(len(m.Room)))
	m.Kind = Kind(r.U8())
	switch m.Kind {
	case CoSign:
		m.Sign = new(room.CoSignature)
		m.Sign.Read(r)
		m.about(r, m.Sign.Head)
	case Refuse:
		m.Term, m.Seen = readTerm(r), readTerm(r)
		if m.Hub = string(r.Opaque()); len(m.Hub) > maxDomain {
			r.Fail(ErrMessage, "hub's domain of %d bytes", len(m.Hub))
		}
	case Need, Ask:
		m.Head = readPlace(r)
	case AskVote:
		m.Term, m.Head = readTerm(r), readPlace(r)
	case Would:
		m.Term, m.Seen = readTerm(r), readTerm(r)
		m.Grant = r.Optional()
	case Stand:
		m.Term, m.Head = readTerm(r), readPlace(r)
		if m.Excuse = hub.Excuse(r.U8()); r.Err() == nil && m.Excuse > hub.Asked {
			r.Fail(ErrMessage, "excuse %d", uint8(m.Excuse))
		}
		copy(m.Set[:], r.Fixed(len(m.Set)))
		if r.Optional() && r.Err() == nil {
			term, head := m.Term, m.Head
			m.readVote(r, true)
			m.Term, m.Head = term, head
		}
		if m.Excuse == hub.Asked {
			m.Commit = slices.Clone(r.Opaque())
		}
	case Grant:
		m.Term, m.Head, m.Seen = readTerm(r), readPlace(r), readTerm(r)
		if m.Grant = r.Optional(); m.Grant && r.Err() == nil {
			m.readVote(r, false)
		}
	case Release:
		m.readVote(r, true)
	case Answer:
		m.Head, m.Seen = readPlace(r), readTerm(r)
	case Show:
		m.Piece = slices.Clone(r.Opaque())
	case Relayed:
		m.Relay = new(Relay)
		m.Relay.read(r)
	case Voted:
		m.Twice = new(room.DoubleVote)
		m.Twice.A.Read(r)
		m.Twice.B.Read(r)
		if a, b := &m.Twice.A, &m.Twice.B; r.Err() == nil && (a.Room != m.Room || b.Room != m.Room || a.Voter != b.Voter || a.Term != b.Term || a.Vote == b.Vote) {
			r.Fail(ErrMessage, "votes of %q and %q that contradict nothing in the room", a.Voter, b.Voter)
		}
	case Move:
		m.Term, m.Head, m.Final = readTerm(r), readPlace(r), readPlace(r)
		m.Commit = slices.Clone(r.Opaque())
	case Ack:
		m.Term, m.Head, m.Seen = readTerm(r), readPlace(r), readTerm(r)
		if m.Grant = r.Optional(); m.Grant && r.Err() == nil {
			m.readAck(r)
		}
	default:
		if r.Err() == nil {
			r.Fail(ErrMessage, "message of kind %d", uint8(m.Kind))
		}
	}
}

// maxDomain is the longest domain name.
const maxDomain = 253

// about takes the head that a signature is over as the message's.
func (m *Message) about(r *presentation.Reader, h room.Head) {
	if r.Err() == nil && h.Room != m.Room {
		r.Fail(ErrMessage, "signature about another room")
	}
	m.Term, m.Head = h.Term, hub.Head{Term: h.Term, Seq: h.Seq, Hash: h.Hash}
}

// readVote reads a vote that must say what the message says.
func (m *Message) readVote(r *presentation.Reader, release bool) {
	m.Vote = new(room.SignedVote)
	m.Vote.Read(r)
	if r.Err() != nil {
		return
	}
	v := &m.Vote.Vote
	head := hub.Head{Term: v.Head.Term, Seq: v.Head.Seq, Hash: v.Head.Hash}
	if release {
		m.Term, m.Head = v.Term, head
	}
	if v.Room != m.Room || v.Head.Room != m.Room || v.Release != release || v.Term != m.Term || head != m.Head {
		r.Fail(ErrMessage, "vote about something else")
	}
}

// readAck reads an acknowledgement that must say what the message says.
func (m *Message) readAck(r *presentation.Reader) {
	m.Ack = new(room.SignedAck)
	m.Ack.Read(r)
	if r.Err() != nil {
		return
	}
	a := &m.Ack.Ack
	if head := (hub.Head{Term: a.Head.Term, Seq: a.Head.Seq, Hash: a.Head.Hash}); a.Room != m.Room || a.Head.Room != m.Room || a.Term != m.Term || head != m.Head {
		r.Fail(ErrMessage, "acknowledgement of something else")
	}
}

func appendTerm(b []byte, t room.Term) []byte {
	return presentation.AppendU64(presentation.AppendU32(b, t.Era), t.Number)
}

func readTerm(r *presentation.Reader) room.Term { return room.Term{Era: r.U32(), Number: r.U64()} }

func appendPlace(b []byte, h hub.Head) []byte {
	return append(presentation.AppendU64(appendTerm(b, h.Term), h.Seq), h.Hash[:]...)
}

func readPlace(r *presentation.Reader) (h hub.Head) {
	h.Term, h.Seq = readTerm(r), r.U64()
	copy(h.Hash[:], r.Fixed(len(h.Hash)))
	return h
}
