package relaylist

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/protocol/presentation"
)

// Endpoints, see the package documentation.
const (
	EndpointDescriptor = "mimid-onion-descriptor"
	EndpointSignatures = "mimid-onion-signatures"
	EndpointSnapshot   = "mimid-onion-snapshot"
	EndpointCollect    = "mimid-onion-collect"
	EndpointCosign     = "mimid-onion-cosign"
)

const (
	// maxList bounds a list: 8,192 relays with keys of X25519 are 4 MiB.
	maxList        = 8 << 20
	maxDescriptor  = 9 << 10
	maxCosignature = 512
	// maxSignatures bounds what is known of an epoch: two of each witness.
	maxSignatures = 2 * MaxWitnesses
	// maxVouched bounds how many relays that a witness does not know it looks up for one list.
	maxVouched  = 512
	vouchPar    = 8
	vouchWithin = 15 * time.Second
)

// Routes are the endpoints that other providers call. Who is no witness takes no descriptors and signs
// nothing.
func (s *Service) Routes() []peering.Route {
	if !s.witness {
		return nil
	}
	return []peering.Route{
		{Endpoint: EndpointDescriptor, Handler: s.handleDescriptor, MaxBody: maxDescriptor, Idempotent: true},
		{Endpoint: EndpointSignatures, Handler: s.handleSignatures, MaxBody: 1, Idempotent: true},
		{Endpoint: EndpointSnapshot, Handler: s.handleSnapshot, MaxBody: 1, Idempotent: true},
		{Endpoint: EndpointCollect, Handler: s.handleCollect, MaxBody: 1, Idempotent: true},
		{Endpoint: EndpointCosign, Handler: s.handleCosign, MaxBody: maxList, Idempotent: true},
	}
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

// admit counts a request of a provider; some cost more than others.
func (s *Service) admit(in *peering.Incoming, cost float64) error {
	if ok, wait := s.rate.Take(in.Source, cost, s.cfg.Now()); !ok {
		return &clientapi.Problem{Status: http.StatusTooManyRequests, Code: clientapi.CodeTooMany, Retry: wait.Milliseconds(), Detail: "this provider asks for lists of relays too often"}
	}
	return nil
}

// ofWitness admits a request of a witness about an epoch whose list may be made now.
func (s *Service) ofWitness(in *peering.Incoming, cost float64) (onion.Epoch, error) {
	if err := s.admit(in, cost); err != nil {
		return 0, err
	}
	if !slices.Contains(s.cfg.Witnesses, in.Source) {
		return 0, problem(http.StatusForbidden, clientapi.CodeForbidden, "%s is no witness of this network", in.Source)
	}
	e, err := epochOf(in.Subject)
	if err != nil {
		return 0, err
	}
	now := s.cfg.Now()
	if p := s.cfg.Terms.Epoch(now); e != p && e != p+1 || now.Before(s.freeze(e)) {
		return 0, problem(http.StatusConflict, clientapi.CodeInvalid, "the list of epoch %d is not made now, in epoch %d", e, p)
	}
	return e, nil
}

func epochOf(subject string) (onion.Epoch, error) {
	e, err := strconv.ParseUint(subject, 10, 64)
	if err != nil || strconv.FormatUint(e, 10) != subject {
		return 0, invalid("%.40q is no epoch", subject)
	}
	return onion.Epoch(e), nil
}

func (s *Service) handleDescriptor(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	if err := s.admit(in, 10); err != nil {
		return nil, err
	}
	r, err := relays.ParseRelay(in.Body)
	if err != nil {
		return nil, invalid("%v", err)
	}
	if d := r.Descriptor(); d.Provider != in.Source {
		return nil, problem(http.StatusForbidden, clientapi.CodeForbidden, "a descriptor of %s comes from %s", d.Provider, in.Source)
	}
	if err := s.cfg.Vouch(ctx, r); err != nil {
		return nil, invalid("%v", err)
	}
	if err := s.take(r, s.cfg.Terms.Epoch(s.cfg.Now())); err != nil {
		return nil, invalid("%v", err)
	}
	return &peering.Response{}, nil
}

// take keeps a descriptor that was vouched for.
func (s *Service) take(r *relays.Relay, e onion.Epoch) error {
	// One epoch before and after, since clocks differ.
	if d := r.Descriptor(); d.First+1 < e || d.First > e+1 || d.Suite != s.cfg.Terms.Format.Suite {
		return fmt.Errorf("%w: %v keys of epoch %d, where this network has %v and epoch %d", relays.ErrDescriptor, d.Suite, d.First, s.cfg.Terms.Format.Suite, e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.pool)
	err := s.pool.put(r)
	if len(s.pool) > n {
		s.changed = s.cfg.Now()
	}
	return err
}

func (s *Service) handleSignatures(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	if err := s.admit(in, 1); err != nil {
		return nil, err
	}
	e, err := epochOf(in.Subject)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []relays.Cosignature
	if c, ok := s.signed[e]; ok {
		all = append(all, c)
	}
	if x := s.epochs[e]; x != nil {
		for _, w := range s.cfg.Witnesses {
			for _, c := range x.signatures[w] {
				if !slices.Contains(all, c) {
					all = append(all, c)
				}
			}
		}
	}
	return &peering.Response{Body: presentation.AppendList(nil, func(b []byte) []byte {
		for _, c := range all {
			b = presentation.AppendOpaque(b, c.Bytes())
		}
		return b
	})}, nil
}

func (s *Service) handleSnapshot(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	if err := s.admit(in, 20); err != nil { // it is long
		return nil, err
	}
	hash, err := hex.DecodeString(in.Subject)
	if err != nil || len(hash) != 32 || hex.EncodeToString(hash) != in.Subject {
		return nil, invalid("%.80q is no hash", in.Subject)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.epochs {
		if b := x.octets[[32]byte(hash)]; b != nil {
			return &peering.Response{Body: b}, nil
		}
	}
	return nil, problem(http.StatusNotFound, clientapi.CodeNotFound, "this witness has no list of this hash")
}

func (s *Service) handleCollect(_ context.Context, in *peering.Incoming) (*peering.Response, error) {
	e, err := s.ofWitness(in, 10)
	if err != nil {
		return nil, err
	}
	list, signed := s.collected(e)
	b := presentation.AppendOpaque(nil, signed)
	b = presentation.AppendList(b, func(b []byte) []byte {
		for _, r := range list {
			b = presentation.AppendOpaque(b, r.Bytes())
		}
		return b
	})
	if len(b) > maxList {
		return nil, problem(http.StatusInsufficientStorage, clientapi.CodeInternal, "this witness has descriptors of %d octets", len(b))
	}
	return &peering.Response{Body: b}, nil
}

// collected is what this witness knows for the list of an epoch, or the list that it has signed already. What it
// has named the first time is what no list may leave out that it is to sign: not what it has named since, or a
// list that was begun before could not be completed.
func (s *Service) collected(e onion.Epoch) (list []*relays.Relay, signed []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(e)
	if c, ok := s.signed[e]; ok && x.octets[c.Hash] != nil {
		return nil, x.octets[c.Hash]
	}
	list = s.pool.list(e)
	if !x.hasTold {
		x.told, x.hasTold = list, true
	}
	return list, nil
}

func (s *Service) handleCosign(ctx context.Context, in *peering.Incoming) (*peering.Response, error) {
	e, err := s.ofWitness(in, 20)
	if err != nil {
		return nil, err
	}
	c, err := s.sign(ctx, e, in.Body)
	switch {
	case errors.Is(err, relays.ErrSnapshot), errors.Is(err, errSignedOther), errors.Is(err, errVouch), errors.Is(err, errRestored), errors.Is(err, errPrevious):
		return nil, problem(http.StatusConflict, clientapi.CodeInvalid, "not signed: %v", err)
	case err != nil:
		return nil, err
	}
	return &peering.Response{Body: c.Bytes()}, nil
}

var (
	errVouch    = errors.New("no record speaks for a relay in the list")
	errRestored = errors.New("this witness was restored from a backup, and may have signed another list")
	errPrevious = errors.New("the list follows another one than that of the epoch before")
)

// sign signs a list, or says why not. The signature exists when that it does is on disk.
func (s *Service) sign(ctx context.Context, e onion.Epoch, b []byte) (relays.Cosignature, error) {
	hash := relays.Hash(b)
	s.mu.Lock()
	was, signed := s.signed[e]
	s.mu.Unlock()
	switch {
	case signed && was.Hash != hash:
		return relays.Cosignature{}, errSignedOther
	case !signed && e < s.from:
		return relays.Cosignature{}, errRestored
	}
	list, err := relays.ParseSnapshot(b)
	if err != nil {
		return relays.Cosignature{}, err
	}
	if list.Epoch != e {
		return relays.Cosignature{}, fmt.Errorf("%w: of epoch %d, and not %d", relays.ErrSnapshot, list.Epoch, e)
	}
	if !signed {
		if err := s.judge(ctx, list); err != nil {
			return relays.Cosignature{}, err
		}
		if err := mark(ctx, s.cfg.Store, e, hash); err != nil {
			return relays.Cosignature{}, err
		}
	}
	c := relays.Cosign(s.cfg.Domain, s.cfg.Key, e, hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed[e] = c
	s.of(e).octets[hash] = b
	return c, nil
}

// judge says whether this witness may sign a list.
func (s *Service) judge(ctx context.Context, list *relays.Snapshot) error {
	s.mu.Lock()
	known := s.of(list.Epoch).told
	if !s.of(list.Epoch).hasTold {
		known = s.pool.list(list.Epoch)
	}
	var unknown []*relays.Relay
	for _, r := range list.Relays {
		if s.pool[r.Node()] == nil || s.pool[r.Node()].Descriptor().Provider != r.Descriptor().Provider {
			unknown = append(unknown, r)
		}
	}
	var before *relays.Cosigned
	if x := s.epochs[list.Epoch-1]; x != nil {
		before = x.list
	}
	s.mu.Unlock()
	if before != nil && before.Hash() != list.Previous {
		return errPrevious
	}
	if err := s.cfg.Terms.Judge(list, known); err != nil {
		return err
	}
	if len(s.vouched(ctx, unknown)) < len(unknown) {
		return errVouch
	}
	return nil
}

// vouched are those of some relays that records speak for: of the first maxVouched.
func (s *Service) vouched(ctx context.Context, list []*relays.Relay) []*relays.Relay {
	list = list[:min(len(list), maxVouched)]
	ctx, cancel := context.WithTimeout(ctx, vouchWithin)
	defer cancel()
	good := make([]bool, len(list))
	slots := make(chan struct{}, vouchPar)
	var wg sync.WaitGroup
	for i, r := range list {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := s.cfg.Vouch(ctx, r)
			if good[i] = err == nil; err != nil {
				s.cfg.Log.Info("no record speaks for a relay", "provider", r.Descriptor().Provider, "err", err)
			}
		})
	}
	wg.Wait()
	var out []*relays.Relay
	for i, r := range list {
		if good[i] {
			out = append(out, r)
		}
	}
	return out
}
