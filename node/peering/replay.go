package peering

import (
	"container/list"
	"context"
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"github.com/mimid/mimid/protocol/presentation"
)

// maxKept is the longest answer that is kept for repetitions.
const maxKept = 16 << 10

// replays remembers requests and their answers until requests with their time
// would be refused anyway. Safe for concurrent use.
type replays struct {
	window    time.Duration // how long a request is remembered
	perSource int
	total     int

	mu      sync.Mutex
	seen    map[replayKey]*replay // guarded by mu
	order   *list.List            // of *replay by until, guarded by mu
	sources map[string]int        // how many of each, guarded by mu
}

type replayKey struct {
	source string
	id     ID
}

type replay struct {
	key   replayKey
	print [sha256.Size]byte
	until time.Time
	at    *list.Element
	done  chan struct{} // closed once answer is there, or the request is forgotten
	// answer is nil until done, and after it if it is not kept.
	answer    *Response
	forgotten bool
}

func newReplays(window time.Duration, perSource, total int) *replays {
	return &replays{window: window, perSource: perSource, total: total,
		seen: map[replayKey]*replay{}, order: list.New(), sources: map[string]int{}}
}

// fingerprint is what must be the same in a repetition.
func fingerprint(in *Incoming) [sha256.Size]byte {
	h := sha256.Sum256(in.Body)
	b := presentation.AppendOpaque(nil, []byte(in.Endpoint))
	b = presentation.AppendOpaque(b, []byte(in.Subject))
	b = presentation.AppendOpaque(b, []byte(in.Room))
	return sha256.Sum256(append(b, h[:]...))
}

// once calls fn unless the request was answered before; then it returns the first
// answer. A repetition waits for the first to be answered.
func (r *replays) once(ctx context.Context, in *Incoming, now time.Time, fn func() *Response) *Response {
	print := fingerprint(in)
	for {
		e, first, bad := r.begin(replayKey{in.Source, in.ID}, print, now)
		if bad != nil {
			return bad
		}
		if first {
			return r.answer(e, fn)
		}
		if e.print != print {
			return refuse(problem(http.StatusConflict, CodeReplay,
				"request id %s was used for another request: take a new id", idText(in.ID)))
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return refuse(tooBusy(time.Second, "the first request with id %s is still in work", idText(in.ID)))
		}
		if e.forgotten {
			continue // the first came to nothing: this one takes its place
		}
		if e.answer == nil {
			return refuse(problem(http.StatusConflict, CodeReplay,
				"request %s was answered before and the answer was too large to be kept: ask again with a new id", idText(in.ID)))
		}
		return e.answer
	}
}

// begin finds the request or enters it.
func (r *replays) begin(key replayKey, print [sha256.Size]byte, now time.Time) (e *replay, first bool, bad *Response) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := r.order.Front(); f != nil && f.Value.(*replay).until.Before(now); f = r.order.Front() {
		r.drop(f.Value.(*replay))
	}
	if e := r.seen[key]; e != nil {
		return e, false, nil
	}
	if r.sources[key.source] >= r.perSource || len(r.seen) >= r.total {
		wait := r.order.Front().Value.(*replay).until.Sub(now)
		return nil, false, refuse(tooBusy(wait, "%d requests of %s within %v are all that are remembered", r.sources[key.source], key.source, r.window))
	}
	e = &replay{key: key, print: print, until: now.Add(r.window), done: make(chan struct{})}
	e.at = r.order.PushBack(e)
	r.seen[key] = e
	r.sources[key.source]++
	return e, true, nil
}

// drop is called with mu held.
func (r *replays) drop(e *replay) {
	if r.seen[e.key] != e {
		return
	}
	delete(r.seen, e.key)
	r.order.Remove(e.at)
	if r.sources[e.key.source]--; r.sources[e.key.source] == 0 {
		delete(r.sources, e.key.source)
	}
}

// answer calls fn, which does not panic, and keeps what it returns.
func (r *replays) answer(e *replay, fn func() *Response) *Response {
	answer := fn()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(e.done)
	switch {
	case answer.Status >= 500 || answer.Status == http.StatusTooManyRequests:
		e.forgotten = true
		r.drop(e)
	case len(answer.Body) <= maxKept:
		e.answer = answer
	}
	return answer
}
