package assets

import (
	"net/http"
	"sync"
	"time"

	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
)

// BudgetConfig bounds downloads. A zero field means its default.
type BudgetConfig struct {
	// Requests is the rate of one peer. Default 20 per second, 200 at once.
	Requests ration.Config
	// InWork is how many downloads one peer has at one time, All how many there are.
	// Default 32 and 256.
	InWork, All int
}

// Budget bounds what peers download. Safe for concurrent use.
type Budget struct {
	cfg      BudgetConfig
	requests *ration.Ration

	mu     sync.Mutex
	inWork map[string]int // guarded by mu; "" for all
}

// NewBudget returns a budget of which nothing is used.
func NewBudget(c BudgetConfig) *Budget {
	setDefault(&c.Requests.PerSecond, 20)
	setDefault(&c.Requests.Burst, 200)
	setDefault(&c.InWork, 32)
	setDefault(&c.All, 256)
	return &Budget{cfg: c, requests: ration.New(c.Requests), inWork: map[string]int{}}
}

// enter takes a place until leave is called.
func (b *Budget) enter(who string, now time.Time) (leave func(), p *clientapi.Problem) {
	refuse := func(wait time.Duration, format string, args ...any) (func(), *clientapi.Problem) {
		p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
		p.Retry = max(wait.Milliseconds(), 1)
		return nil, p
	}
	if ok, wait := b.requests.Take(who, 1, now); !ok {
		return refuse(wait, "too many downloads of %s: try again in %v", who, wait.Round(time.Millisecond))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.inWork[""] >= b.cfg.All:
		return refuse(time.Second, "%d downloads are under way here, which is the limit: try again soon", b.inWork[""])
	case b.inWork[who] >= b.cfg.InWork:
		return refuse(time.Second, "%d downloads of %s are under way, which is the limit", b.inWork[who], who)
	}
	b.inWork[""]++
	b.inWork[who]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.inWork[""]--
		if b.inWork[who]--; b.inWork[who] == 0 {
			delete(b.inWork, who)
		}
	}, nil
}
