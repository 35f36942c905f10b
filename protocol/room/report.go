package room

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/wire"
)

// Reports of abuse (MIMI protocol section 5.9). The hub that made a frank knows it by its
// hub_key. A former hub's it knows by the signature, with the key that the log named for
// that hub. It trusts no more in it than the receivers did: a hub could always frank what
// nobody has said. Therefore the log has to hold the entry, too, which a former hub cannot
// put there afterwards.

// maxFormer is how many former hubs are remembered.
const maxFormer = 32

// Former returns who ordered the room before, each franking key once, the latest last;
// what is remembered of them is bounded. To read from.
func (s *State) Former() []Replica { return s.former }

// noteFormer remembers the present hub, if next is another one.
func (s *State) noteFormer(next *Replica) {
	now := &s.lead.Hub
	same := func(x Replica) bool { return slices.Equal(x.FrankingKey, now.FrankingKey) }
	if now.equal(next) || len(s.former) > 0 && same(s.former[len(s.former)-1]) {
		return
	}
	former := slices.DeleteFunc(slices.Clone(s.former), same)
	if len(former) == maxFormer {
		former = former[1:]
	}
	s.former, s.unsavedFormer = append(former, *now), true
}

func parseReplicas(b []byte) (out []Replica, err error) {
	r := presentation.NewReader(b)
	r.List(maxFormer, func() {
		var x Replica
		x.read(r)
		out = append(out, x)
	})
	if err = r.Done(); err != nil {
		return nil, fmt.Errorf("reading former hubs: %w", err)
	}
	return out, nil
}

// Reported is one message of a report, and what goes with it in the room's log.
type Reported struct {
	Frank      *wire.Frank
	AcceptedAt uint64
	Plain      *Plain
	Nonce      TxnNonce // see CheckFrank
	// Logged says that the log holds a message with this frank, accepted at that time,
	// to whose tag the plaintext is what was committed to (see Holds).
	Logged bool
}

// Holds says whether an entry is the message that is reported.
func (x *Reported) Holds(e *Entry) bool {
	if e.Kind != KindMessage || e.AcceptedAt != x.AcceptedAt {
		return false
	}
	m, err := ParseMessage(e.Body)
	if err != nil || m.Frank == nil || m.Frank.ServerFrank != x.Frank.ServerFrank {
		return false
	}
	tag, err := wire.FrankAADOf(m.Message.Private.AAD(), BodyLimits())
	return err == nil && *tag == *x.Plain.tag()
}

// Judge says whether somebody sent what is reported, and returns the domain of the hub
// whose frank shows it: by's own, or one of those given, present and former. It takes the
// same work whether that is so or not, for what is forged as for what is true. Error:
// ErrFrank, without a word on what is wrong.
func (x *Reported) Judge(by *Franker, self string, hubs []Replica) (hub string, err error) {
	if by != nil && by.Made(x.Frank, x.Plain, x.AcceptedAt) == nil {
		hub = self
	}
	for i := range hubs {
		if VerifyFrank(&hubs[i], x.Frank, x.Plain, x.AcceptedAt, x.Nonce) == nil && x.Logged && hub == "" {
			hub = hubs[i].Domain
		}
	}
	if hub == "" {
		return "", fmt.Errorf("%w: no hub of the room has franked this", ErrFrank)
	}
	return hub, nil
}
