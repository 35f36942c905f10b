package memnet

import (
	"io"
	"os"
	"sync"
	"time"
)

// window is how many octets a stream holds that were not read yet; more wait at the writer.
const window = 1 << 20

// A pipe is one direction of a stream: octets, each with the time at which they arrive.
type pipe struct {
	f        *Fabric
	from, to int

	mu      sync.Mutex
	chunks  []chunk
	held    int           // octets in chunks
	last    time.Time     // when the newest of them arrive: order is kept
	ended   bool          // the writer writes no more
	err     error         // both ends are cut short
	deaf    bool          // the reader reads no more
	changed chan struct{} // closed and made anew with each change
}

type chunk struct {
	at   time.Time
	data []byte // nil: the end
}

func newPipe(f *Fabric, from, to int) *pipe {
	return &pipe{f: f, from: from, to: to, changed: make(chan struct{})}
}

func (p *pipe) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// read waits for octets, the end, or a deadline that may change.
func (p *pipe) read(b []byte, d *deadline) (int, error) {
	for {
		cut, uncut := p.f.isCut(p.from, p.to)
		p.mu.Lock()
		changed := p.changed
		var wait time.Duration
		switch {
		case p.err != nil:
			p.mu.Unlock()
			return 0, p.err
		case p.deaf:
			p.mu.Unlock()
			return 0, errClosed
		case d.passed():
			p.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(p.chunks) == 0 || cut:
			wait = -1
		default:
			if wait = time.Until(p.chunks[0].at); wait > 0 {
				break
			}
			n, err := p.take(b)
			p.mu.Unlock()
			return n, err
		}
		p.mu.Unlock()
		pause(wait, changed, uncut, d)
	}
}

// take copies what has arrived. It is called with the lock, and the first chunk is there.
func (p *pipe) take(b []byte) (int, error) {
	c := &p.chunks[0]
	if c.data == nil {
		return 0, io.EOF
	}
	n := copy(b, c.data)
	c.data = c.data[n:]
	p.held -= n
	if len(c.data) == 0 {
		p.chunks[0] = chunk{}
		p.chunks = p.chunks[1:]
	}
	p.change()
	return n, nil
}

// write puts octets on their way, as far as the window lets it.
func (p *pipe) write(b []byte, d *deadline) (int, error) {
	done := 0
	for {
		frozen := p.f.isFrozen(p.from)
		p.mu.Lock()
		changed := p.changed
		switch {
		case p.err != nil:
			p.mu.Unlock()
			return done, p.err
		case p.ended, p.deaf:
			p.mu.Unlock()
			return done, errClosed
		case d.passed():
			p.mu.Unlock()
			return done, os.ErrDeadlineExceeded
		case frozen != nil:
		case p.held < window:
			n := min(len(b)-done, window-p.held)
			if n > 0 {
				p.add(append([]byte(nil), b[done:done+n]...))
				p.held += n
				done += n
			}
			if done == len(b) {
				p.mu.Unlock()
				return done, nil
			}
		}
		p.mu.Unlock()
		pause(-1, changed, frozen, d)
	}
}

// add is called with the lock. Nothing overtakes what was sent before.
func (p *pipe) add(data []byte) {
	at := p.f.arrival(p.from, p.to, len(data))
	if at.Before(p.last) {
		at = p.last
	}
	p.last = at
	p.chunks = append(p.chunks, chunk{at, data})
	p.change()
}

// finish is the writer's end.
func (p *pipe) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && p.err == nil && !p.deaf {
		p.add(nil)
	}
	p.ended = true
}

// ignore is the reader's end: what still comes is dropped.
func (p *pipe) ignore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.deaf {
		p.deaf, p.chunks, p.held = true, nil, 0
		p.change()
	}
}

// fail ends a pipe at once.
func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err, p.chunks, p.held = err, nil, 0
		p.change()
	}
}

// pause waits for a change, some time (unless it is negative), or a deadline.
func pause(wait time.Duration, changed, other <-chan struct{}, d *deadline) {
	at, moved := d.get()
	if !at.IsZero() {
		if left := max(time.Until(at), 0); wait < 0 || left < wait {
			wait = left
		}
	}
	var timer <-chan time.Time
	if wait >= 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-other:
	case <-moved:
	case <-timer:
	}
}

// A deadline may be moved while somebody waits for it.
type deadline struct {
	mu    sync.Mutex
	at    time.Time
	moved chan struct{}
}

func newDeadline() *deadline { return &deadline{moved: make(chan struct{})} }

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
	close(d.moved)
	d.moved = make(chan struct{})
}

func (d *deadline) get() (time.Time, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at, d.moved
}

func (d *deadline) passed() bool {
	at, _ := d.get()
	return !at.IsZero() && !time.Now().Before(at)
}
