package oprf

import (
	"bytes"
	"fmt"

	"github.com/cloudflare/circl/group"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

// Lengths no value exceeds, in bytes.
const (
	MaxRequest    = 64 + MaxInputs*ElementSize
	MaxEvaluation = 128 + MaxInputs*ElementSize
	MaxKeySet     = 64 + MaxEvaluators*(ElementSize+260)
	MaxDealing    = MaxKeySet
	maxSecret     = 128

	version = 1
)

// Bytes encodes the request.
//
//	opaque Element[33];             a compressed point, SEC 1
//
//	struct {
//	  uint8   version = 1;
//	  opaque  key_set[32];          KeySet.ID
//	  Element elements<V>;          1 to 64
//	} Request;
func (r *Request) Bytes() []byte {
	b := append([]byte{version}, r.set[:]...)
	return appendElements(b, r.elements)
}

// ParseRequest reads a request. Like the others it keeps no part of b.
//
// Errors of this and the functions below: presentation's, ErrVersion, ErrElement,
// ErrScalar, ErrSize.
func ParseRequest(b []byte) (*Request, error) {
	return parse(b, MaxRequest, "request", func(r *presentation.Reader) *Request {
		return &Request{readID(r), readElements(r, 1, MaxInputs)}
	})
}

// Bytes encodes the evaluation.
//
//	struct {
//	  uint8   version = 1;
//	  opaque  key_set[32];
//	  uint8   number;               of the evaluator
//	  Element elements<V>;          as many as in the request
//	  opaque  proof[64];            RFC 9497, 2.2.1: c and s
//	} Evaluation;
func (e *Evaluation) Bytes() []byte {
	b := append([]byte{version}, e.set[:]...)
	b = appendElements(append(b, byte(e.number)), e.elements)
	return append(b, e.proof[:]...)
}

// ParseEvaluation reads an evaluation.
func ParseEvaluation(b []byte) (*Evaluation, error) {
	return parse(b, MaxEvaluation, "evaluation", func(r *presentation.Reader) *Evaluation {
		e := &Evaluation{set: readID(r), number: int(r.U8()), elements: readElements(r, 1, MaxInputs)}
		copy(e.proof[:], r.Fixed(proofSize))
		return e
	})
}

// Bytes encodes the key set.
//
//	opaque Provider<V>;             domain
//
//	struct {
//	  uint8    version = 1;
//	  uint32   generation;
//	  Element  polynomial<V>;       as many as the threshold; the first is the public key
//	  Provider evaluators<V>;       numbers 1, 2, ...
//	} KeySet;
func (k *KeySet) Bytes() []byte {
	b := presentation.AppendU32([]byte{version}, k.generation)
	return appendProviders(appendElements(b, k.poly), k.plan.Evaluators)
}

// ParseKeySet reads a key set.
func ParseKeySet(b []byte) (*KeySet, error) {
	return parse(b, MaxKeySet, "key set", func(r *presentation.Reader) *KeySet {
		generation, poly := r.U32(), readElements(r, 1, MaxEvaluators)
		plan := Plan{len(poly), readProviders(r)}
		if r.Err() != nil {
			return nil
		}
		k, err := newKeySet(generation, plan, poly)
		if err != nil {
			r.Fail(err, "with generation %d", generation)
		}
		return k
	})
}

// Secret encodes the share, which is secret.
//
//	struct {
//	  uint8  version = 1;
//	  opaque key_set[32];
//	  uint8  number;
//	  opaque share[32];             scalar, big-endian
//	} Share;
func (s *Share) Secret() []byte { return secret(s.set.id, s.number, s.k) }

// ParseShare reads a share of this key set, and checks that it is one. Errors: also
// ErrMismatch, ErrShare, ErrEvaluator.
func (k *KeySet) ParseShare(b []byte) (*Share, error) {
	return parse(b, maxSecret, "share", func(r *presentation.Reader) *Share {
		id, number, v := readSecret(r)
		if r.Err() != nil {
			return nil
		}
		if id != k.id {
			r.Fail(ErrMismatch, "share of key set %s, this is %s", id, k.id)
			return nil
		}
		s, err := newShare(k, number, v)
		if err != nil {
			r.Fail(err, "checking it")
		}
		return s
	})
}

// Bytes encodes the dealing.
//
//	struct {
//	  uint8    version = 1;
//	  opaque   key_set[32];         that the dealt share is of
//	  uint8    dealer;
//	  Element  polynomial<V>;       as many as the next threshold
//	  Provider evaluators<V>;       the next ones
//	} Dealing;
func (d *Dealing) Bytes() []byte {
	b := append(append([]byte{version}, d.from[:]...), byte(d.dealer))
	return appendProviders(appendElements(b, d.poly), d.plan.Evaluators)
}

// ParseDealing reads a dealing.
func ParseDealing(b []byte) (*Dealing, error) {
	return parse(b, MaxDealing, "dealing", func(r *presentation.Reader) *Dealing {
		from, dealer, poly := readID(r), int(r.U8()), readElements(r, 1, MaxEvaluators)
		plan := Plan{len(poly), readProviders(r)}
		if r.Err() != nil {
			return nil
		}
		d, err := newDealing(from, dealer, plan, poly)
		if err != nil {
			r.Fail(err, "of evaluator %d", dealer)
		}
		return d
	})
}

// Secret encodes the piece, which is secret. The layout is that of a share, with the
// dealing's hash instead of the key set's.
func (p *Piece) Secret() []byte { return secret(p.dealing, p.number, p.v) }

// ParsePiece reads a piece. KeySet.Assemble checks it.
func ParsePiece(b []byte) (*Piece, error) {
	return parse(b, maxSecret, "piece", func(r *presentation.Reader) *Piece {
		id, number, v := readSecret(r)
		return &Piece{id, number, &scalarBox{v}}
	})
}

func secret(id ID, number int, v *scalarBox) []byte {
	b := append(append([]byte{version}, id[:]...), byte(number))
	s, err := v.s.MarshalBinary()
	if err != nil {
		panic("oprf: a scalar has no encoding: " + err.Error())
	}
	return append(b, s...)
}

func readSecret(r *presentation.Reader) (id ID, number int, v group.Scalar) {
	id, number = readID(r), int(r.U8())
	b := r.Fixed(ScalarSize)
	if r.Err() != nil {
		return id, number, nil
	}
	v, err := parseScalar(b)
	if err != nil {
		r.Fail(err, "number %d", number)
	}
	return id, number, v
}

func appendElements(b []byte, es []element) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, e := range es {
			b = append(b, e.b[:]...)
		}
		return b
	})
}

func readElements(r *presentation.Reader, least, most int) (es []element) {
	r.List(most, func() {
		b := r.Fixed(ElementSize)
		if r.Err() != nil {
			return
		}
		e, err := parseElement(b)
		if err != nil {
			r.Fail(err, "in place %d", len(es))
			return
		}
		es = append(es, e)
	})
	if r.Err() == nil && len(es) < least {
		r.Fail(ErrSize, "%d elements", len(es))
	}
	return es
}

func appendProviders(b []byte, ps []uri.Provider) []byte {
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, p := range ps {
			b = presentation.AppendOpaque(b, []byte(p.Domain()))
		}
		return b
	})
}

func readProviders(r *presentation.Reader) (ps []uri.Provider) {
	r.List(MaxEvaluators, func() {
		b := r.Opaque()
		if r.Err() != nil {
			return
		}
		p, err := uri.ParseDomain(string(b))
		if err == nil && p.Domain() != string(b) {
			err = presentation.ErrNonCanonical
		}
		if err != nil {
			r.Fail(err, "evaluator %d", len(ps)+1)
		}
		ps = append(ps, p)
	})
	return ps
}

func readID(r *presentation.Reader) (id ID) {
	copy(id[:], r.Fixed(len(id)))
	return id
}

// parse bounds the input, reads the version and the rest, and returns nil with every error.
func parse[T any](b []byte, limit int, what string, read func(*presentation.Reader) *T) (*T, error) {
	if len(b) > limit {
		return nil, fmt.Errorf("parsing %s of %d bytes (limit %d): %w", what, len(b), limit, presentation.ErrTooLarge)
	}
	r := presentation.NewReader(bytes.Clone(b))
	if v := r.U8(); r.Err() == nil && v != version {
		r.Fail(ErrVersion, "%d", v)
	}
	out := read(r)
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", what, err)
	}
	return out, nil
}
