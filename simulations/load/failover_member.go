package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/uri"
)

// member is a user with one device: package client as an application has it, with its
// default times, and what it was told and when.
type member struct {
	at    *provider
	c     *client.Client
	room  uri.Room
	close func() // the second call does nothing

	quiet chan struct{} // closed: talk no more
	said  sync.WaitGroup

	mu      sync.Mutex
	sent    map[uint64]*message // guarded by mu, by index
	next    int                 // guarded by mu: number of the next message
	latest  []*message          // guarded by mu: those since talk
	news    []news              // guarded by mu
	trouble error               // guarded by mu: the first Problem or failed Send
}

// message is one that the member has sent. Times are zero before it is so.
type message struct {
	text                  string
	sent, accepted, final time.Time
	failed                error
}

// news is that the hub is silent, or another one.
type news struct {
	at      time.Time
	changed bool
}

// newMember registers a user at a provider and starts the device.
func newMember(ctx context.Context, p *provider, dir string) (*member, error) {
	m := &member{at: p, close: func() {}, sent: map[uint64]*message{}}
	var code string
	err := p.ask(ctx, func(a *admin.Client) error {
		inv, err := a.CreateInvite(ctx, admin.NewInvite{Name: "user"})
		if err == nil {
			code = inv.Code
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	st, err := disk.Open(disk.Options{Dir: dir, Small: true})
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	storing, endStore := context.WithCancel(context.Background())
	running, endClient := context.WithCancel(context.Background())
	var store, device sync.WaitGroup
	store.Go(func() { st.Run(storing) })
	m.close = sync.OnceFunc(func() {
		m.hush()
		endClient()
		device.Wait()
		endStore()
		store.Wait()
		st.Close(context.Background())
		transport.CloseIdleConnections()
	})
	if m.c, err = client.Open(client.Config{Storage: st, HTTP: &http.Client{Transport: transport}, Notices: 1 << 14}); err == nil {
		err = m.c.Register(ctx, p.status.Clients, code, "device")
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("registering at %s: %w", p.domain, err)
	}
	device.Go(func() {
		if err := m.c.Run(running); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.trouble = errors.Join(m.trouble, err)
		}
	})
	device.Go(func() { m.listen(running) })
	return m, nil
}

// listen notes what the application is told, and when.
func (m *member) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-m.c.Events():
			m.hear(n, time.Now())
		}
	}
}

func (m *member) hear(n client.Notice, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch n := n.(type) {
	case client.HubSilent:
		if n.Silent {
			m.news = append(m.news, news{at: at})
		}
	case client.HubChanged:
		m.news = append(m.news, news{at: at, changed: true})
	case client.SendState:
		x := m.message(n.Index)
		switch n.State {
		case client.StateAccepted:
			if x.accepted.IsZero() {
				x.accepted = at
			}
		case client.StateFinal:
			x.final = at
			if x.accepted.IsZero() {
				x.accepted = at // the stream was faster than the answer
			}
		case client.StateFailed:
			x.failed = n.Err
		}
	case client.Problem:
		m.trouble = errors.Join(m.trouble, n.Err)
	case client.Rejoining:
		m.trouble = errors.Join(m.trouble, n.Err)
	case client.Missed:
		m.trouble = errors.Join(m.trouble, errors.New("notices were missed"))
	}
}

// message returns the one with an index, of which a notice may tell before Send has
// returned. m.mu is held.
func (m *member) message(index uint64) *message {
	x := m.sent[index]
	if x == nil {
		x = new(message)
		m.sent[index] = x
	}
	return x
}

// talk sends a message every interval, until hush.
func (m *member) talk(interval time.Duration) {
	quiet := make(chan struct{})
	m.quiet = quiet
	m.mu.Lock()
	m.latest = nil
	m.mu.Unlock()
	m.said.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-quiet:
				return
			case <-tick.C:
			}
			m.mu.Lock()
			text := fmt.Sprintf("%s says %d", m.at.name, m.next)
			m.next++
			m.mu.Unlock()
			at := time.Now()
			index, err := m.c.Send(context.Background(), m.room, text)
			m.mu.Lock()
			if err != nil {
				m.trouble = errors.Join(m.trouble, err)
			} else {
				x := m.message(index)
				x.text, x.sent = text, at
				m.latest = append(m.latest, x)
			}
			m.mu.Unlock()
		}
	})
}

// hush returns when no more is sent.
func (m *member) hush() {
	if m.quiet != nil {
		close(m.quiet)
		m.quiet = nil
	}
	m.said.Wait()
}

// served says whether a message that was sent after a moment has been accepted.
func (m *member) served(after time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.acceptedAfter(after).IsZero()
}

// acceptedAfter is when the first message that was sent after a moment was accepted.
// m.mu is held.
func (m *member) acceptedAfter(after time.Time) (first time.Time) {
	for _, x := range m.latest {
		if x.sent.After(after) && !x.accepted.IsZero() && (first.IsZero() || x.accepted.Before(first)) {
			first = x.accepted
		}
	}
	return first
}

// since is what the member has noticed of a death.
func (m *member) since(killed, dead time.Time) (n noticed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.news {
		if x.at.Before(killed) {
			continue
		}
		if n.told.IsZero() {
			n.told = x.at
		}
		if x.changed && n.changed.IsZero() {
			n.changed = x.at
		}
	}
	n.served = m.acceptedAfter(dead)
	return n
}

// open counts the messages that are not final. The error is why one never will be.
func (m *member) open() (open int, failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.latest {
		if x.failed != nil {
			return open, x.failed
		}
		if x.final.IsZero() {
			open++
		}
	}
	return open, nil
}

// tally adds what the member has sent to a report. Latencies are of messages that were
// sent and became final while nobody was dead.
func (m *member) tally(r *FailoverReport, calm []span) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.sent {
		r.Sent++
		if !x.accepted.IsZero() {
			r.Accepted++
		}
		if !x.final.IsZero() {
			r.Final++
		}
		for _, s := range calm {
			if x.sent.After(s.from) && x.final.After(s.from) && x.final.Before(s.to) {
				r.answers = append(r.answers, millis(x.accepted.Sub(x.sent)))
				r.finals = append(r.finals, millis(x.final.Sub(x.sent)))
				r.added = append(r.added, millis(x.final.Sub(x.accepted)))
			}
		}
	}
	if m.trouble != nil {
		r.Trouble = append(r.Trouble, m.at.domain+": "+m.trouble.Error())
	}
}

// compare counts what of all members' messages this one does not have, or has more than
// once.
func (m *member) compare(r *FailoverReport, all []*member) error {
	list, err := m.c.Messages(m.room, 0, math.MaxInt)
	if err != nil {
		return err
	}
	have := map[string]int{}
	for _, x := range list {
		if x.State == client.StateFinal {
			have[x.Text]++
		}
	}
	for _, o := range all {
		o.mu.Lock()
		for _, x := range o.sent {
			n := have[x.text]
			switch {
			case n > 1:
				r.Doubled += n - 1
			case n == 0 && !x.final.IsZero():
				r.LostFinal++
			case n == 0 && !x.accepted.IsZero():
				r.LostAccepted++
			case n == 0:
				r.LostSent++
			}
			delete(have, x.text)
		}
		o.mu.Unlock()
	}
	r.Strange += len(have)
	return nil
}
