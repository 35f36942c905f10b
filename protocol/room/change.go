package room

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
)

// Via says by which way a hub came to be hub.
type Via uint8

// Ways to become hub.
const (
	// ByVotes: a majority of the set in force voted.
	ByVotes Via = 1
	// ByRelease: the hub that was a set of one gave its place away.
	ByRelease Via = 2
	// ByMove: an administrator's commit named it, and a majority of the other
	// participating providers has acknowledged that.
	ByMove Via = 3
)

func (v Via) String() string {
	switch v {
	case ByVotes:
		return "by votes"
	case ByRelease:
		return "by release"
	case ByMove:
		return "by move"
	}
	return fmt.Sprintf("Via(%d)", uint8(v))
}

// HubChange is the body of a hub_change entry, a new hub's first, and proves that
// it is hub:
//
//	struct {
//	    uint8 version = 1;
//	    uint8 via;                /* votes(1), release(2), move(3), move_without(4) */
//	    Replica hub;
//	    select (via) {
//	        case votes, release:
//	            SignedVote votes<V>;  /* 1 to 10, ascending voters; one by release */
//	        case move, move_without:
//	            SignedAck acks<V>;    /* 1 to 4096, ascending providers */
//	            opaque commit<V>;     /* a Handshake: the administrator's commit */
//	            select (via) {
//	                case move_without:
//	                    Lie lies<V>;  /* 1 to 16, ascending providers, 256 KiB */
//	            };
//	    };
//	} HubChange;
//
// A move_without is a ByMove with Lies: it takes the acknowledgements of all who take part
// but those whose lies it proves, the replaced hub's too (package hub, "Two final histories").
type HubChange struct {
	Via    Via
	Hub    Replica
	Votes  []SignedVote
	Acks   []SignedAck
	Commit []byte
	Lies   []Lie
}

// viaWithout is ByMove, with lies, as it is encoded.
const viaWithout = 4

// Bytes encodes the body.
func (c *HubChange) Bytes() []byte {
	via := byte(c.Via)
	if len(c.Lies) > 0 {
		via = viaWithout
	}
	b := c.Hub.append([]byte{Version, via})
	if c.Via == ByMove {
		b = presentation.AppendList(b, func(b []byte) []byte {
			for i := range c.Acks {
				b = c.Acks[i].Append(b)
			}
			return b
		})
		b = presentation.AppendOpaque(b, c.Commit)
		if len(c.Lies) == 0 {
			return b
		}
		return presentation.AppendList(b, func(b []byte) []byte {
			for i := range c.Lies {
				b = c.Lies[i].Append(b)
			}
			return b
		})
	}
	return presentation.AppendList(b, func(b []byte) []byte {
		for i := range c.Votes {
			b = c.Votes[i].Append(b)
		}
		return b
	})
}

// ParseHubChange reads the body of a hub_change entry and checks its form.
// Errors: ErrVote, ErrHosting, and those of presentation.
func ParseHubChange(b []byte) (*HubChange, error) {
	c := new(HubChange)
	r := presentation.NewReader(b)
	readVersion(r, "hub_change")
	via := r.U8()
	c.Via = Via(via)
	if via == viaWithout {
		c.Via = ByMove
	}
	if r.Err() == nil && (c.Via < ByVotes || c.Via > ByMove) {
		r.Fail(presentation.ErrMalformed, "hub_change via %d", via)
	}
	c.Hub.read(r)
	if c.Via == ByMove {
		r.List(MaxAcks, func() {
			var a SignedAck
			a.Read(r)
			c.Acks = append(c.Acks, a)
		})
		c.Commit = slices.Clone(r.Opaque())
		if via == viaWithout {
			left := len(r.Rest())
			r.List(MaxLies, func() {
				var x Lie
				x.Read(r)
				c.Lies = append(c.Lies, x)
			})
			if n := left - len(r.Rest()); r.Err() == nil && (len(c.Lies) == 0 || n > MaxLieBytes) {
				r.Fail(presentation.ErrMalformed, "%d proofs of lies in %d bytes", len(c.Lies), n)
			}
		}
	} else {
		r.List(MaxSigners, func() {
			var v SignedVote
			v.Read(r)
			c.Votes = append(c.Votes, v)
		})
	}
	err := r.Done()
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading hub_change: %w", err)
	}
	return c, nil
}

// Handshake returns the commit of a move.
func (c *HubChange) Handshake() (*Handshake, error) {
	h, err := ParseHandshake(c.Commit)
	if err != nil {
		return nil, fmt.Errorf("commit of a move: %w", err)
	}
	return h, nil
}

func (c *HubChange) check() error {
	if err := c.Hub.check(); err != nil {
		return err
	}
	if c.Via == ByMove {
		if n := len(c.Acks); n == 0 || n > MaxAcks || len(c.Commit) == 0 {
			return fmt.Errorf("hub_change %s with %d acknowledgements and a commit of %d bytes: %w", c.Via, n, len(c.Commit), ErrVote)
		}
		for i := 1; i < len(c.Acks); i++ {
			if c.Acks[i].Provider <= c.Acks[i-1].Provider {
				return fmt.Errorf("acknowledgement of %q after that of %q: %w", c.Acks[i].Provider, c.Acks[i-1].Provider, ErrVote)
			}
		}
		for i := 1; i < len(c.Lies); i++ {
			if c.Lies[i].Provider <= c.Lies[i-1].Provider {
				return fmt.Errorf("lie of %q after that of %q: %w", c.Lies[i].Provider, c.Lies[i-1].Provider, ErrVote)
			}
		}
		return nil
	}
	if n := len(c.Votes); n == 0 || n > MaxSigners || c.Via == ByRelease && n != 1 {
		return fmt.Errorf("hub_change %s with %d votes: %w", c.Via, n, ErrVote)
	}
	for i := 1; i < len(c.Votes); i++ {
		if c.Votes[i].Voter <= c.Votes[i-1].Voter {
			return fmt.Errorf("voter %q after %q: %w", c.Votes[i].Voter, c.Votes[i-1].Voter, ErrVote)
		}
	}
	return nil
}

// Settled is the body of a settled entry: the proof that the commit which began
// the change of the replica set is final, so that from here on the new set
// decides.
//
//	struct {
//	    uint8 version = 1;
//	    Certificate certificate;
//	} Settled;
type Settled struct {
	Certificate Certificate
}

// Bytes encodes the body.
func (s *Settled) Bytes() []byte { return s.Certificate.Append([]byte{Version}) }

// ParseSettled reads the body of a settled entry and checks its form.
// Errors: ErrCertificate, and those of presentation.
func ParseSettled(b []byte) (*Settled, error) {
	s := new(Settled)
	r := presentation.NewReader(b)
	readVersion(r, "settled")
	s.Certificate.Read(r)
	err := r.Done()
	if err == nil {
		err = s.Certificate.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading settled: %w", err)
	}
	return s, nil
}
