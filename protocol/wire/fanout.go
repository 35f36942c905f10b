package wire

import (
	"fmt"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// FanoutMessage is one event that a hub passes on (section 5.5):
//
//	struct {
//	    uint64 timestamp;                            /* ms */
//	    select (protocol) { case mls10:
//	        MLSMessage message;
//	        select (kind of message) {
//	            case application: optional<Frank> frank;
//	            case welcome:     RatchetTreeOption ratchetTreeOption;
//	            case proposal:    MLSMessage moreProposals<V>;
//	            case commit:      MLSMessage externalProposals<V>;
//	        };
//	    };
//	} FanoutMessage;
//
// The draft selects on wire_format with names of content types. The kind here:
// an application PrivateMessage, a Welcome, or a PublicMessage by its content.
// ExternalProposals stand only beside a commit by a joiner, since no other
// makes the hub's proposals void without its committer having seen them, and
// come from external senders. A field of another case is zero.
type FanoutMessage struct {
	Timestamp         uint64
	Message           *mls.Message
	Frank             *Frank
	Tree              *RatchetTreeOption
	MoreProposals     []*mls.Message
	ExternalProposals []*mls.Message
}

func (m *FanoutMessage) read(r *reader) {
	m.Timestamp = r.U64()
	m.Message = r.message()
	if r.Err() != nil {
		return
	}
	switch m.Message.Wire {
	case mls.WirePrivateMessage:
		m.Frank = r.optionalFrank()
	case mls.WireWelcome:
		m.Tree = new(RatchetTreeOption)
		m.Tree.read(r)
	default:
		p, err := handshake(m.Message, "message")
		switch {
		case err != nil:
			r.Fail(err, "FanoutMessage")
		case p.ContentType() == mls.ContentProposal:
			m.MoreProposals = r.proposals()
		default:
			m.ExternalProposals = r.proposals()
		}
	}
}

func (m *FanoutMessage) append(b []byte) []byte {
	b = m.Message.Append(presentation.AppendU64(b, m.Timestamp))
	switch m.Message.Wire {
	case mls.WirePrivateMessage:
		return appendOptionalFrank(b, m.Frank)
	case mls.WireWelcome:
		return m.Tree.append(b)
	}
	if m.Message.Public.ContentType() == mls.ContentProposal {
		return appendEach(b, m.MoreProposals, appendMessage)
	}
	return appendEach(b, m.ExternalProposals, appendMessage)
}

func (m *FanoutMessage) check() error {
	var frank, tree, more, external bool // which may be there
	switch {
	case m.Message == nil:
		return contradiction("no message")
	case m.Message.Wire == mls.WirePrivateMessage:
		if err := checkApplication(m.Message, "message"); err != nil {
			return err
		}
		frank = true
	case m.Message.Wire == mls.WireWelcome:
		if x := m.Message; x.Welcome == nil || x.Public != nil || x.Private != nil ||
			x.GroupInfo != nil || x.KeyPackage != nil || m.Tree == nil {
			return contradiction("Welcome %t, ratchet tree %t", x.Welcome != nil, m.Tree != nil)
		}
		tree = true
	default:
		p, err := handshake(m.Message, "message")
		if err != nil {
			return err
		}
		more = p.ContentType() == mls.ContentProposal
		external = !more && p.Sender().Type == mls.SenderNewMemberCommit
	}
	if m.Frank != nil && !frank || m.Tree != nil && !tree ||
		len(m.MoreProposals) > 0 && !more || len(m.ExternalProposals) > 0 && !external {
		return contradiction("wire format %d with frank %t, tree %t, %d more and %d external proposals",
			m.Message.Wire, m.Frank != nil, m.Tree != nil, len(m.MoreProposals), len(m.ExternalProposals))
	}
	if m.Tree != nil {
		return m.Tree.check()
	}
	if err := firstError(checkProposals(m.MoreProposals, "moreProposals"),
		checkProposals(m.ExternalProposals, "externalProposals")); err != nil {
		return err
	}
	for _, p := range m.ExternalProposals {
		if s := p.Public.Sender().Type; s != mls.SenderExternal {
			return contradiction("externalProposals has one by a sender of type %d", s)
		}
	}
	return nil
}

// Fanout is the body of a notify request: one or more messages, of one room
// and in order, with nothing between them:
//
//	FanoutMessage messages[length of the body];
type Fanout []*FanoutMessage

func (f *Fanout) read(r *reader) {
	for first := true; first || !r.Empty(); first = false {
		if len(*f) == r.lim.FanoutMessages {
			r.Fail(ErrTooLarge, "more than %d messages", r.lim.FanoutMessages)
			return
		}
		m := new(FanoutMessage)
		m.read(r)
		if r.Err() != nil {
			return
		}
		*f = append(*f, m)
	}
}

func (f *Fanout) append(b []byte) []byte {
	for _, m := range *f {
		b = m.append(b)
	}
	return b
}

func (f *Fanout) check() error {
	if len(*f) == 0 {
		return contradiction("no message")
	}
	for i, m := range *f {
		if m == nil {
			return contradiction("message %d is nil", i)
		}
		if err := m.check(); err != nil {
			return fmt.Errorf("message %d: %w", i, err)
		}
	}
	return nil
}

// ParseFanout reads the body of a notify request. The bytes are copied. An
// empty body is ErrTruncated, and so is one that ends within a message.
func ParseFanout(b []byte, lim Limits) (Fanout, error) {
	var f Fanout
	if err := parse(b, lim, "FanoutMessages", &f); err != nil {
		return nil, err
	}
	return f, nil
}

// Bytes encodes the body.
func (f Fanout) Bytes() ([]byte, error) { return encode("FanoutMessages", &f) }
