package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
)

// person is a user of the demo with one device.
type person struct {
	d      *demo
	name   string
	at     *provider
	dir    string
	tamper *tamper
	c      *client.Client
	room   client.Room // its URI
	said   int
	close  func()
}

// newPerson registers a user with an invite and starts the client.
func (d *demo) newPerson(name string, at *provider) (*person, error) {
	p := &person{d: d, name: name, at: at, dir: filepath.Join(d.dir, "users", name), tamper: new(tamper)}
	out, err := d.run(d.ctx, "account", "invite", name, "--json", "--dir", at.dir)
	if err != nil {
		return nil, err
	}
	var invite struct{ Code, Provider string }
	if err := json.Unmarshal(out, &invite); err != nil {
		return nil, fmt.Errorf("reading invite: %w", err)
	}
	st, c, err := p.load()
	if err != nil {
		return nil, err
	}
	if err := c.Register(d.ctx, invite.Provider, invite.Code, "phone"); err != nil {
		st()
		return nil, err
	}
	st()
	return p, p.open(d.ctx)
}

// load opens the directory; the function closes it.
func (p *person) load() (closeAll func(), c *client.Client, err error) {
	st, err := disk.Open(disk.Options{Dir: p.dir, Small: true})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(ctx) })
	closeAll = func() {
		cancel()
		wg.Wait()
		st.Close(context.Background())
	}
	c, err = client.Open(client.Config{Storage: st, HTTP: &http.Client{Transport: p.tamper}, CommitDelay: 200 * time.Millisecond, Retry: 100 * time.Millisecond})
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return closeAll, c, nil
}

// open starts the client from its directory.
func (p *person) open(ctx context.Context) error {
	closeStorage, c, err := p.load()
	if err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(run) })
	p.c = c
	p.close = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		closeStorage()
	})
	return nil
}

func (p *person) stop() {
	if p != nil && p.close != nil {
		p.close()
	}
}

// sayAll sends messages, one after the other, and waits until the hub has taken
// them.
func (p *person) sayAll(ctx context.Context, n int) error {
	for range n {
		p.said++
		if _, err := p.c.Send(ctx, p.room.URI, fmt.Sprintf("%s says number %d", p.name, p.said)); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return p.d.eventually(func() (bool, error) {
		list, err := p.c.Messages(p.room.URI, 0, 1_000_000)
		if err != nil {
			return false, err
		}
		for _, m := range list {
			if m.State == client.StateFailed {
				return false, fmt.Errorf("%s: message %q failed", p.name, m.Text)
			}
			if m.State == client.StateQueued {
				return false, nil
			}
		}
		return true, nil
	})
}

// texts returns the messages that are in the log, in the order in which MIMI shows
// them: by the hub's time, then by id.
func (p *person) texts(context.Context) ([]string, error) {
	list, err := p.c.Messages(p.room.URI, 0, 1_000_000)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b client.Message) int {
		return cmp.Or(a.AcceptedAt.Compare(b.AcceptedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var out []string
	for _, m := range list {
		if m.State == client.StateFinal {
			out = append(out, m.Text)
		}
	}
	return out, nil
}

func equal(a, b []string) bool { return slices.Equal(a, b) }

// tamper is the network between a client and its provider. Armed, it changes
// handshakes on the way: it writes the room's creator in as the sender.
type tamper struct {
	mu      sync.Mutex
	group   []byte
	changed int
}

func (t *tamper) arm(group []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.group, t.changed = group, 0
}

// disarm returns how many handshakes were changed.
func (t *tamper) disarm() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.group = nil
	return t.changed
}

// RoundTrip implements http.RoundTripper.
func (t *tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	group := t.group
	t.mu.Unlock()
	if group == nil || !strings.HasSuffix(r.URL.Path, "/updates") {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return nil, err
	}
	var up map[string]any
	if err := json.Unmarshal(body, &up); err != nil {
		return nil, err
	}
	text, _ := up["request"].(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	// A PublicMessage begins with the group id; then epoch (8 octets), sender type
	// (1) and the sender's leaf (4).
	if i := bytes.Index(raw, group); i >= 0 && len(raw) > i+len(group)+13 {
		clear(raw[i+len(group)+9 : i+len(group)+13]) // the creator's leaf
		t.mu.Lock()
		t.changed++
		t.mu.Unlock()
	}
	up["request"] = base64.StdEncoding.EncodeToString(raw)
	if body, err = json.Marshal(up); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return http.DefaultTransport.RoundTrip(r)
}
