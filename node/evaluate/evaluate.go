package evaluate

import (
	"context"
	cryptorand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/uri"
)

// Endpoint is the endpoint's name; it is not MIMI's.
const Endpoint = "evaluate"

const (
	askWithin    = 8 * time.Second        // the whole of an evaluation by others
	anotherAfter = 400 * time.Millisecond // one more evaluator is asked, when some are slow

	// Over relays there and back takes seconds, and asking more makes all slower.
	veiledWithin       = 50 * time.Second
	veiledAnotherAfter = 15 * time.Second

	faultFor = 10 * time.Minute // an evaluator that has erred is asked last
)

var (
	// ErrConfig: New was given a configuration that cannot work.
	ErrConfig = errors.New("evaluate: unusable configuration")
	// ErrTooFew: fewer evaluators than the threshold gave a good evaluation in time. Try
	// again later; Faults says whom to ask why.
	ErrTooFew = errors.New("evaluate: too few evaluators answer")
)

// Caller asks other providers; *peering.Caller is one.
type Caller interface {
	Call(ctx context.Context, q peering.Request) (*peering.Response, error)
}

// Veil asks other providers over relays; *veil.Service does.
type Veil interface {
	Caller
	// Check is an error if it cannot be as private as a user asks for.
	Check(p *clientapi.Privacy) error
}

// Limits bounds what is evaluated, counted in inputs. A zero field means its default.
type Limits struct {
	// Users is an own user's budget. Default 50 a day, 200 at once.
	Users ration.Config
	// Providers is another provider's budget here, if this is an evaluator. Default 20 per
	// second, 5,000 at once.
	Providers ration.Config
	// Unnamed is the budget here of all together who ask over relays. Default 5 per second, 500 at once.
	Unnamed ration.Config
}

// Config configures a Service.
type Config struct {
	// Domain is the own provider's.
	Domain string
	// Set is the network's key set.
	Set *oprf.KeySet
	// Share may be nil: this provider is no evaluator.
	Share  *oprf.Share
	Caller Caller
	// Veil asks over relays, where a user wants that. May be nil: nobody can.
	Veil   Veil
	Limits Limits
	Now    func() time.Time
	// Log receives what an operator may want to know. Default: nothing.
	Log *slog.Logger
}

// Service evaluates. Safe for concurrent use.
type Service struct {
	cfg       Config
	own       int // the own evaluator's number, or 0
	users     *ration.Ration
	providers *ration.Ration
	unnamed   *ration.Ration // of one, ""

	mu     sync.Mutex
	faults map[int]Fault // by evaluator; guarded by mu
}

// Fault is what an evaluator did last, if that was no good evaluation.
type Fault struct {
	Provider string
	// Lied says that it answered with something that its share does not give, or that
	// cannot be read; else it did not answer.
	Lied bool
	At   time.Time
	Why  string
}

// New returns a Service. It starts nothing. Error: ErrConfig.
func New(cfg Config) (*Service, error) {
	if cfg.Set == nil || cfg.Caller == nil {
		return nil, fmt.Errorf("%w: Set and Caller are needed", ErrConfig)
	}
	own := 0
	if cfg.Share != nil {
		p, err := uri.ParseDomain(cfg.Domain)
		if err != nil {
			return nil, fmt.Errorf("%w: domain %.100q: %w", ErrConfig, cfg.Domain, err)
		}
		n, err := cfg.Set.Number(p)
		if err != nil || n != cfg.Share.Number() || cfg.Share.Set().ID() != cfg.Set.ID() {
			return nil, fmt.Errorf("%w: the share is number %d of key set %s, and %s is not that evaluator in key set %s", ErrConfig, cfg.Share.Number(),
				cfg.Share.Set().ID(), cfg.Domain, cfg.Set.ID())
		}
		own = n
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	setDefault(&cfg.Limits.Users.PerSecond, 50/(24*60*60.0))
	setDefault(&cfg.Limits.Users.Burst, 200)
	setDefault(&cfg.Limits.Providers.PerSecond, 20)
	setDefault(&cfg.Limits.Providers.Burst, 5000)
	setDefault(&cfg.Limits.Unnamed.PerSecond, 5)
	setDefault(&cfg.Limits.Unnamed.Burst, 500)
	return &Service{cfg: cfg, own: own, users: ration.New(cfg.Limits.Users), providers: ration.New(cfg.Limits.Providers), unnamed: ration.New(cfg.Limits.Unnamed), faults: map[int]Fault{}}, nil
}

func setDefault(p *float64, d float64) {
	if *p <= 0 {
		*p = d
	}
}

// Limits are those in force.
func (s *Service) Limits() Limits { return s.cfg.Limits }

// Number is this provider's own number as an evaluator; 0: it is none.
func (s *Service) Number() int { return s.own }

// Try asks every evaluator for one evaluation, and returns what went wrong, by number.
func (s *Service) Try(ctx context.Context) (map[int]error, error) {
	input := make([]byte, 16)
	cryptorand.Read(input)
	b, err := s.cfg.Set.Blind(input)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	list := s.cfg.Set.Evaluators()
	errs := make([]error, len(list))
	var asking sync.WaitGroup
	for i, p := range list {
		asking.Go(func() { _, errs[i] = s.askOne(ctx, s.cfg.Caller, b.Request(), i+1, p) })
	}
	asking.Wait()
	out := map[int]error{}
	for i, err := range errs {
		if s.note(i+1, list[i], err); err != nil {
			out[i+1] = err
		}
	}
	return out, nil
}

// Set is the network's key set.
func (s *Service) Set() *oprf.KeySet { return s.cfg.Set }

// Faults are the evaluators that have erred last, by number.
func (s *Service) Faults() map[int]Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[int]Fault{}
	for n, f := range s.faults {
		out[n] = f
	}
	return out
}

// Evaluate serves an own user's device. A request for another key set than ours is a
// Problem with CodeKeySet: the device reads it anew.
func (s *Service) Evaluate(ctx context.Context, who account.Identity, q *clientapi.Evaluate) (*clientapi.Evaluated, error) {
	r, err := oprf.ParseRequest(q.Request)
	if err != nil {
		return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "the request does not decode: %v", err)
	}
	if r.Set() != s.cfg.Set.ID() {
		return nil, problem(http.StatusConflict, clientapi.CodeKeySet, "the request is for key set %s, and the network has %s: read it anew", r.Set(), s.cfg.Set.ID())
	}
	out, how := new(clientapi.Evaluated), s.named()
	if q.Privacy != nil {
		if s.cfg.Veil == nil {
			return nil, problem(http.StatusServiceUnavailable, clientapi.CodePrivacy, "this provider asks nobody over relays; nothing was sent")
		}
		if err := s.cfg.Veil.Check(q.Privacy); err != nil {
			return nil, err
		}
		out.Over, how = q.Privacy.Over, way{s.cfg.Veil, veiledWithin, veiledAnotherAfter, true}
	}
	if ok, wait := s.users.Take(who.User.String(), float64(r.Len()), s.cfg.Now()); !ok {
		return nil, tooMany(wait, "%s has used many identifiers: wait", who.User)
	}
	good, err := s.ask(ctx, how, r)
	if p, ok := errors.AsType[*clientapi.Problem](err); ok && p.Code == clientapi.CodePrivacy {
		return nil, problem(p.Status, p.Code, "%v", err)
	}
	if errors.Is(err, ErrTooFew) {
		return nil, problem(http.StatusBadGateway, clientapi.CodeUnreachable, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	for _, x := range good {
		out.Evaluations = append(out.Evaluations, clientapi.Evaluation{Number: x.verified.Number(), Evaluation: x.bytes})
	}
	return out, nil
}

// Output evaluates one input for this provider itself.
func (s *Service) Output(ctx context.Context, input []byte) (oprf.Output, error) {
	b, err := s.cfg.Set.Blind(input)
	if err != nil {
		return oprf.Output{}, err
	}
	good, err := s.ask(ctx, s.named(), b.Request())
	if err != nil {
		return oprf.Output{}, err
	}
	var vs []*oprf.Verified
	for _, x := range good {
		vs = append(vs, x.verified)
	}
	out, err := b.Finish(vs...)
	if err != nil {
		return oprf.Output{}, err
	}
	return out[0], nil
}

type evaluated struct {
	verified *oprf.Verified
	bytes    []byte
}

// A way is how evaluators are asked, and for how long.
type way struct {
	caller          Caller
	within, another time.Duration
	veiled          bool
}

func (s *Service) named() way { return way{s.cfg.Caller, askWithin, anotherAfter, false} }

// ask asks as many evaluators as are needed at once, and another one whenever one has failed or
// a while has passed. It returns what the first t good ones say.
func (s *Service) ask(ctx context.Context, how way, r *oprf.Request) ([]evaluated, error) {
	ctx, cancel := context.WithTimeout(ctx, how.within)
	defer cancel()
	list, order := s.cfg.Set.Evaluators(), s.order()
	type answer struct {
		number int
		evaluated
		err error
	}
	answers := make(chan answer, len(list))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel() // before the wait
	open := 0
	next := func() {
		if len(order) == 0 {
			return
		}
		n := order[0]
		order = order[1:]
		open++
		asking.Go(func() {
			x, err := s.askOne(ctx, how.caller, r, n, list[n-1])
			answers <- answer{n, x, err}
		})
	}
	for range s.cfg.Set.Threshold() {
		next()
	}
	slow := time.NewTicker(how.another)
	defer slow.Stop()
	var good []evaluated
	var bad error
	for open > 0 {
		select {
		case <-slow.C:
			next()
		case a := <-answers:
			open--
			if !how.veiled || errors.Is(a.err, errLied) { // what relays lose is no fault of an evaluator's
				s.note(a.number, list[a.number-1], a.err)
			}
			if a.err != nil {
				bad = errors.Join(bad, fmt.Errorf("%s: %w", list[a.number-1].Domain(), a.err))
				next()
				continue
			}
			if good = append(good, a.evaluated); len(good) == s.cfg.Set.Threshold() {
				return good, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %d of the %d that are needed: %w", ErrTooFew, len(good), s.cfg.Set.Threshold(), bad)
}

// order is in which order evaluators are asked: this one itself, then any that have not
// erred lately, then the others. Among equals it is drawn, so that all bear the same load.
func (s *Service) order() (numbers []int) {
	faults := s.Faults()
	rank := func(n int) int {
		if n == s.own {
			return 0
		}
		if f, bad := faults[n]; bad && s.cfg.Now().Sub(f.At) < faultFor {
			return 2
		}
		return 1
	}
	for i := range s.cfg.Set.Evaluators() {
		numbers = append(numbers, i+1)
	}
	rand.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	slices.SortStableFunc(numbers, func(a, b int) int { return rank(a) - rank(b) })
	return numbers
}

// askOne asks one evaluator, and verifies what it says.
func (s *Service) askOne(ctx context.Context, caller Caller, r *oprf.Request, number int, p uri.Provider) (out evaluated, err error) {
	var e *oprf.Evaluation
	if number == s.own {
		if e, err = s.cfg.Share.Evaluate(r); err != nil {
			return out, err
		}
		out.bytes = e.Bytes()
	} else {
		set := r.Set()
		resp, err := caller.Call(ctx, peering.Request{Target: p.Domain(), Endpoint: Endpoint, Subject: hex.EncodeToString(set[:]), Body: r.Bytes(),
			MaxResponse: oprf.MaxEvaluation})
		if err != nil {
			return out, err
		}
		out.bytes = resp.Body
		if e, err = oprf.ParseEvaluation(resp.Body); err != nil {
			return out, fmt.Errorf("%w: %w", errLied, err)
		}
	}
	if out.verified, err = s.cfg.Set.Verify(r, number, e); err != nil {
		return out, fmt.Errorf("%w: %w", errLied, err)
	}
	return out, nil
}

// errLied: an evaluator has answered with something wrong.
var errLied = errors.New("evaluate: a false answer")

// note keeps what an evaluator did last. Who was no longer needed did nothing.
func (s *Service) note(number int, p uri.Provider, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		delete(s.faults, number)
	case !errors.Is(err, context.Canceled):
		f := Fault{p.Domain(), errors.Is(err, errLied), s.cfg.Now(), err.Error()}
		s.faults[number] = f
		if f.Lied {
			s.cfg.Log.Warn("an evaluator answers falsely", "provider", p.Domain(), "number", number, "err", err)
		} else {
			s.cfg.Log.Debug("an evaluator does not answer", "provider", p.Domain(), "number", number, "err", err)
		}
	}
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func tooMany(wait time.Duration, format string, args ...any) *clientapi.Problem {
	p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
	p.Retry = max(wait.Milliseconds(), 1)
	return p
}
