package memnet

import (
	"io"
	"os"
	"time"
)

// window is how many octets a stream holds that were not read yet; more wait at the writer.
const window = 1 << 20

// A pipe is one direction of a stream: octets, each with the time at which they arrive. Its bell's lock guards it.
type pipe struct {
	bell
	f        *Fabric
	from, to int

	chunks          []chunk
	held            int       // octets in chunks
	last            time.Time // when the newest of them arrive: order is kept
	ended           bool      // the writer writes no more
	err             error     // both ends are cut short
	deaf            bool      // the reader reads no more
	readBy, writeBy time.Time // deadlines; zero: none
}

type chunk struct {
	at   time.Time
	data []byte // nil: the end
}

func newPipe(f *Fabric, from, to int) *pipe {
	p := &pipe{f: f, from: from, to: to}
	p.init()
	return p
}

// read waits for octets, the end, or a deadline that may change.
func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var arrives time.Time
		switch {
		case p.err != nil:
			return 0, p.err
		case p.deaf:
			return 0, errClosed
		case passed(p.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(p.chunks) > 0 && !p.f.isCut(p.from, p.to):
			if arrives = p.chunks[0].at; passed(arrives) {
				return p.take(b)
			}
		}
		p.wait(arrives, p.readBy)
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
		if p.chunks = p.chunks[1:]; len(p.chunks) == 0 {
			p.chunks = nil // most streams are silent most of the time
		}
	}
	p.ring()
	return n, nil
}

// write puts octets on their way, as far as the window lets it.
func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := 0
	for {
		switch {
		case p.err != nil:
			return done, p.err
		case p.ended, p.deaf:
			return done, errClosed
		case passed(p.writeBy):
			return done, os.ErrDeadlineExceeded
		case p.f.isFrozen(p.from) != nil:
		case p.held < window:
			n := min(len(b)-done, window-p.held)
			if n > 0 {
				p.add(append([]byte(nil), b[done:done+n]...))
				p.held += n
				done += n
			}
			if done == len(b) {
				return done, nil
			}
		}
		p.wait(p.writeBy)
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
	if len(p.chunks) == 1 {
		p.ringAt(at)
	}
}

// finish is the writer's end.
func (p *pipe) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && p.err == nil && !p.deaf {
		p.add(nil)
	}
	p.ended = true
	p.ring()
}

// ignore is the reader's end: what still comes is dropped.
func (p *pipe) ignore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.deaf {
		p.deaf, p.chunks, p.held = true, nil, 0
		p.ring()
	}
}

// fail ends a pipe at once.
func (p *pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err, p.chunks, p.held = err, nil, 0
		p.ring()
	}
}

// look has who waits look again: whether a node is cut off or frozen has changed.
func (p *pipe) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ring()
}

func (p *pipe) setReadBy(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readBy = t
	p.ring()
}

func (p *pipe) setWriteBy(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writeBy = t
	p.ring()
}
