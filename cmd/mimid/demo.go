package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
)

type demoCommand struct {
	Dir     string `help:"Keep the providers' and users' data in this new directory. Without it, all is deleted at the end." type:"path"`
	Verbose bool   `help:"Show the nodes' logs." short:"v"`

	within time.Duration // how long the story may take; zero: demoTime
}

func (c *demoCommand) Help() string {
	return `Starts three providers (atlanta, biloxi, chicago) as processes of this program, on this
machine only, and five users' clients, and tells what happens. Every claim is checked.
The exit code is 0 only if every check held.

Example:
  mimid demo
  mimid demo --dir /tmp/demo --verbose`
}

// demo is one run. The providers are other processes, which it talks to as any
// client or operator would: through package client and the command line.
type demo struct {
	s       *session
	ctx     context.Context
	program string
	dir     string
	verbose bool
	report  *report

	atlanta, biloxi, chicago       *provider
	alice, andy, bob, bella, carol *person
}

func (d *demo) providers() []*provider { return []*provider{d.atlanta, d.biloxi, d.chicago} }
func (d *demo) people() []*person      { return []*person{d.alice, d.andy, d.bob, d.bella, d.carol} }

// demoTime is how long the story may take.
const demoTime = time.Minute

func (c *demoCommand) Run(s *session) error {
	d := &demo{s: s, verbose: c.Verbose, report: newReport(s.out)}
	var err error
	if d.program, err = os.Executable(); err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if d.dir = c.Dir; d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "mimid-demo-"); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
		defer os.RemoveAll(d.dir)
	} else if err := os.Mkdir(d.dir, 0o700); err != nil {
		return fmt.Errorf("--dir must name a directory that does not exist yet: %w", err)
	}
	limit := cmp.Or(c.within, demoTime)
	ctx, cancel := context.WithTimeoutCause(s.ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	d.ctx = ctx
	defer d.end()
	start := time.Now()
	err = d.story()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if err != nil {
		d.report.check("the story came to its end", false, "%s", err)
	}
	d.end()
	if err == nil {
		d.afterwards()
	}
	if c.Dir != "" {
		d.report.say("The data is kept in %s.", c.Dir)
	}
	return d.report.finish(time.Since(start))
}

// end stops everybody, people first.
func (d *demo) end() {
	for _, p := range d.people() {
		p.stop()
	}
	var all sync.WaitGroup
	for _, p := range d.providers() {
		all.Go(p.stop)
	}
	all.Wait()
}

func (d *demo) story() error {
	for _, chapter := range []struct {
		title string
		tell  func() error
	}{
		{"Three providers, each a process with its own data", d.startProviders},
		{"Five users register", d.register},
		{"Alice looks Bob up", d.lookUp},
		{"Alice asks, Bob accepts", d.consent},
		{"A room across two providers, then three", d.room},
		{"Ten messages each way", d.talk},
		{"A forged handshake", d.forge},
		{"Biloxi is killed, and comes back", d.kill},
		{"Bob's client is restored from its disk", d.restore},
		{"Atlanta, which orders the room, is killed", d.takeOver},
		{"Everybody compares", d.compare},
		{"Life in another room", d.life},
	} {
		d.report.chapter(chapter.title)
		if err := chapter.tell(); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(chapter.title), err)
		}
		if d.ctx.Err() != nil {
			return context.Cause(d.ctx)
		}
	}
	return nil
}

func (d *demo) startProviders() error {
	for _, x := range []struct {
		p    **provider
		name string
	}{{&d.atlanta, "atlanta"}, {&d.biloxi, "biloxi"}, {&d.chicago, "chicago"}} {
		var boot string
		if d.atlanta != nil {
			boot = d.atlanta.status.Addresses[0]
		}
		p, err := d.newProvider(x.name, boot)
		if err != nil {
			return err
		}
		*x.p = p
		took, err := p.start()
		if err != nil {
			return err
		}
		d.report.say("%-16s process %d, clients at %s, ready after %s", p.domain, p.pid(), p.status.Clients, ms(took))
		d.report.say("%-16s key %s..., peer %s", "", p.status.KeyFingerprint[:16], p.status.PeerID)
	}
	return nil
}

func (d *demo) register() error {
	for _, x := range []struct {
		p    **person
		name string
		at   *provider
	}{{&d.alice, "alice", d.atlanta}, {&d.andy, "andy", d.atlanta}, {&d.bob, "bob", d.biloxi}, {&d.bella, "bella", d.biloxi}, {&d.carol, "carol", d.chicago}} {
		start := time.Now()
		p, err := d.newPerson(x.name, x.at)
		if err != nil {
			return err
		}
		*x.p = p
		d.report.say("%-6s is %s, with an invite and a key of her or his own; %s", x.name, p.c.User(), ms(time.Since(start)))
	}
	return nil
}

func (d *demo) lookUp() error {
	const handle = "handle:bob"
	start := time.Now()
	if err := d.bob.c.Publish(d.ctx, handle); err != nil {
		return err
	}
	d.report.say("bob publishes %s: biloxi signs the claim and announces a blinded key in the DHT; %s", handle, ms(time.Since(start)))
	found := 0
	for try, first := 0, time.Duration(0); try < 20; try++ {
		start = time.Now()
		res, err := d.alice.c.Discover(d.ctx, handle)
		took := time.Since(start)
		if err != nil {
			return err
		}
		if first == 0 {
			first = took
		}
		if found = len(res.Found); found == 0 {
			d.report.say("alice asks for %s: nobody; %d asked, %d without a valid answer; %s", handle, res.Asked, res.Failed, ms(took))
			time.Sleep(200 * time.Millisecond)
			continue
		}
		f := res.Found[0]
		d.report.say("alice asks for %s: %s; it is %s, %s says so (verified: %s); %s", handle, plural(found, "claim"), f.User, f.Provider, f.Method, ms(took))
		start = time.Now()
		if _, err := d.alice.c.Discover(d.ctx, handle); err != nil {
			return err
		}
		d.report.say("the same again, with the secret in memory: %s", ms(time.Since(start)))
		d.report.check("alice finds bob by his handle", f.User == d.bob.c.User().String(), "%s", f.User)
		break
	}
	if found == 0 {
		d.report.check("alice finds bob by his handle", false, "nobody found")
	}
	none, err := d.alice.c.Discover(d.ctx, "handle:nobody")
	if err != nil {
		return err
	}
	d.report.check("nobody is found where nobody is", len(none.Found) == 0, "handle:nobody")
	return nil
}

func (d *demo) consent() error {
	room, err := d.alice.c.CreateRoom(d.ctx, "before consent")
	if err != nil {
		return err
	}
	err = d.alice.c.AddUser(d.ctx, room, d.bob.c.User())
	d.report.check("without consent nobody gets bob's KeyPackages", err != nil && client.Refused(err), "%v", err)
	if err := d.befriend(d.alice, d.bob); err != nil {
		return err
	}
	return d.alice.c.Leave(d.ctx, room)
}

// befriend has one ask and the other accept.
func (d *demo) befriend(asks, grants *person) error {
	start := time.Now()
	if err := asks.c.RequestContact(d.ctx, grants.c.User()); err != nil {
		return err
	}
	if err := d.eventually(func() (bool, error) {
		list, err := grants.c.Requests(d.ctx)
		for _, u := range list {
			if u == asks.c.User() {
				return true, nil
			}
		}
		return false, err
	}); err != nil {
		return fmt.Errorf("%s's request does not reach %s: %w", asks.name, grants.name, err)
	}
	asked := time.Since(start)
	start = time.Now()
	if err := grants.c.Accept(d.ctx, asks.c.User()); err != nil {
		return err
	}
	if err := d.eventually(func() (bool, error) {
		list, err := asks.c.Consents(d.ctx)
		for _, x := range list {
			if x.Target == grants.c.User().String() && x.State == "granted" {
				return true, nil
			}
		}
		return false, err
	}); err != nil {
		return fmt.Errorf("%s's grant does not reach %s: %w", grants.name, asks.name, err)
	}
	d.report.say("%s asks %s (there after %s), %s accepts (back after %s)", asks.name, grants.name, ms(asked), grants.name, ms(time.Since(start)))
	return nil
}

func (d *demo) room() error {
	start := time.Now()
	room, err := d.alice.c.CreateRoom(d.ctx, "clubhouse")
	if err != nil {
		return err
	}
	d.alice.room.URI = room
	if err := d.joined(d.alice); err != nil {
		return err
	}
	d.report.say("alice creates %s; %s", room, ms(time.Since(start)))
	for _, x := range []struct{ by, who *person }{{d.alice, d.bob}, {d.bob, d.carol}, {d.alice, d.andy}, {d.bob, d.bella}} {
		if x.who != d.bob {
			if err := d.befriend(x.by, x.who); err != nil {
				return err
			}
		}
		start := time.Now()
		x.who.room.URI = room
		if err := x.by.c.AddUser(d.ctx, room, x.who.c.User()); err != nil {
			return fmt.Errorf("%s adds %s: %w", x.by.name, x.who.name, err)
		}
		if err := d.joined(x.who); err != nil {
			return err
		}
		if err := d.together(); err != nil {
			return err
		}
		v, err := x.who.c.Verify(d.ctx, room)
		if err != nil {
			return err
		}
		d.report.say("%s adds %s: a commit and a Welcome, MLS epoch %d, entry %d of the log; all are there after %s", x.by.name, x.who.name, v.Epoch, v.Next-1, ms(time.Since(start)))
	}
	var sizes []string
	for _, p := range d.providers() {
		r, err := p.room(room.String())
		if err != nil {
			return err
		}
		sizes = append(sizes, fmt.Sprintf("%s %d", p.name, r.Members))
		d.report.check("roster of "+p.domain+" is the MLS roster", r.Members == 5 && len(r.Participants) == 5, "%d members, %d participants", r.Members, len(r.Participants))
	}
	d.report.say("members as each provider counts them in its own ratchet tree: %s", strings.Join(sizes, ", "))
	start = time.Now()
	var v client.Summary
	err = d.eventually(func() (bool, error) {
		v, err = d.carol.c.Verify(d.ctx, room)
		return v.Replicas == 3, nil
	})
	d.report.check("three providers decide about the room together", err == nil && v.Replicas == 3, "hub %s, term %s, by a commit of alice's device that all verify; %s", v.Hub, v.Term, ms(time.Since(start)))
	return d.together()
}

func (d *demo) talk() error {
	const each = 10
	start := time.Now()
	errs := make(chan error, len(d.people()))
	for _, p := range d.people() {
		go func() { errs <- p.sayAll(d.ctx, each) }()
	}
	for range d.people() {
		if err := <-errs; err != nil {
			return err
		}
	}
	sent := time.Since(start)
	if err := d.heard(each * len(d.people())); err != nil {
		return err
	}
	d.report.say("%d messages of five users, encrypted end to end, ordered by atlanta and read by all; accepted within %s, read within %s",
		each*len(d.people()), ms(sent), ms(time.Since(start)))
	return nil
}

func (d *demo) forge() error {
	if err := d.settled(); err != nil { // receipts are entries, too
		return err
	}
	before, err := d.atlanta.room(d.alice.room.URI.String())
	if err != nil {
		return err
	}
	// One member of each provider says that it leaves, and its connection to the
	// provider makes that Alice's wish.
	for _, p := range []*person{d.andy, d.bella, d.carol} {
		p.tamper.arm([]byte(strings.Replace(d.alice.room.URI.String(), "/r/", "/g/", 1)))
		err := p.c.Leave(d.ctx, d.alice.room.URI)
		changed := p.tamper.disarm()
		text := "nothing"
		if err != nil {
			text = err.Error()
		}
		d.report.check(p.at.domain+" refuses a handshake in alice's name", err != nil && client.Refused(err) && changed > 0, "%s", last(text))
	}
	for _, p := range d.providers() {
		after, err := p.room(d.alice.room.URI.String())
		if err != nil {
			return err
		}
		d.report.check("the log of "+p.domain+" did not move", after.Next == before.Next && after.Head == before.Head && after.Epoch == before.Epoch,
			"%d entries, epoch %d", after.Next, after.Epoch)
	}
	return nil
}

func (d *demo) kill() error {
	old := d.biloxi.pid()
	if err := d.biloxi.kill(); err != nil {
		return err
	}
	d.report.say("process %d of biloxi.example is killed with SIGKILL", old)
	start := time.Now()
	for _, p := range []*person{d.alice, d.carol, d.andy} {
		if err := p.sayAll(d.ctx, 5); err != nil {
			return err
		}
	}
	d.report.say("alice, carol and andy go on: 15 messages in %s", ms(time.Since(start)))
	took, err := d.biloxi.start()
	if err != nil {
		return err
	}
	start = time.Now()
	d.report.say("biloxi is started again, process %d, ready after %s", d.biloxi.pid(), ms(took))
	if err := d.heard(50 + 15); err != nil {
		return err
	}
	d.report.say("biloxi has asked for what it missed, verified it, and bob and bella have read it; %s", ms(time.Since(start)))
	if err := d.settled(); err != nil {
		return err
	}
	want, err := d.atlanta.room(d.alice.room.URI.String())
	if err != nil {
		return err
	}
	got, err := d.biloxi.room(d.alice.room.URI.String())
	if err != nil {
		return err
	}
	d.report.check("biloxi caught up after SIGKILL", got.Head == want.Head && got.Next == want.Next, "%d of %d entries", got.Next, want.Next)
	return nil
}

func (d *demo) restore() error {
	d.bob.stop()
	if err := d.alice.sayAll(d.ctx, 3); err != nil {
		return err
	}
	start := time.Now()
	if err := d.bob.open(d.ctx); err != nil {
		return err
	}
	if err := d.heard(50 + 15 + 3); err != nil {
		return err
	}
	d.report.say("bob's client opens its encrypted directory, resumes its stream and reads three messages more; %s", ms(time.Since(start)))
	if err := d.bob.sayAll(d.ctx, 1); err != nil {
		return err
	}
	if err := d.heard(50 + 15 + 3 + 1); err != nil {
		return err
	}
	leaks, err := grep(d.bob.dir, []byte("says number"))
	if err != nil {
		return err
	}
	d.report.check("nothing that was said is readable on bob's disk", leaks == 0, "%s with plaintext", plural(leaks, "file"))
	return nil
}

func (d *demo) takeOver() error {
	room := d.alice.room.URI
	before, err := d.bob.c.Verify(d.ctx, room)
	if err != nil {
		return err
	}
	old := d.atlanta.pid()
	if err := d.atlanta.kill(); err != nil {
		return err
	}
	d.report.say("process %d of atlanta.example is killed with SIGKILL while it orders the room", old)
	start := time.Now()
	errs := make(chan error, 3)
	for _, p := range []*person{d.bob, d.bella, d.carol} {
		go func() { errs <- p.sayAll(d.ctx, 5) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			return err
		}
	}
	took := time.Since(start)
	now, err := d.carol.c.Verify(d.ctx, room)
	if err != nil {
		return err
	}
	d.report.check("another provider orders the room", now.Hub != before.Hub && now.Term != before.Term,
		"%s in term %s, instead of %s in %s; 15 messages of bob, bella and carol are in after %s", now.Hub, now.Term, before.Hub, before.Term, ms(took))
	ready, err := d.atlanta.start()
	if err != nil {
		return err
	}
	start = time.Now()
	if err := d.alice.sayAll(d.ctx, 2); err != nil {
		return err
	}
	if err := d.heard(50 + 15 + 3 + 1 + 15 + 2); err != nil {
		return err
	}
	back, err := d.atlanta.room(room.String())
	if err != nil {
		return err
	}
	d.report.say("atlanta is started again, process %d, ready after %s, and follows %s; alice and andy go on", d.atlanta.pid(), ms(ready), back.Hub)
	took = time.Since(start)
	once := true
	for _, p := range d.people() {
		texts, err := p.texts(d.ctx)
		if err != nil {
			return err
		}
		slices.Sort(texts)
		once = once && len(texts) == 50+15+3+1+15+2 && len(slices.Compact(texts)) == len(texts)
	}
	d.report.check("nobody has lost or read twice anything that was said", once, "%d messages, after %s", 50+15+3+1+15+2, ms(took))
	d.report.check("the room keeps its name, and the old hub follows", back.Hub == now.Hub, "%s, ordered by %s", room, back.Hub)
	hub := d.biloxi
	if now.Hub == d.chicago.domain {
		hub = d.chicago
	}
	start = time.Now()
	if _, err := d.run(d.ctx, "room", "move", room.String(), d.atlanta.domain, "--dir", hub.dir); err != nil {
		return err
	}
	took = time.Since(start)
	if err := d.carol.sayAll(d.ctx, 1); err != nil {
		return err
	}
	if err := d.heard(50 + 15 + 3 + 1 + 15 + 2 + 1); err != nil {
		return err
	}
	again, err := d.chicago.room(room.String())
	if err != nil {
		return err
	}
	d.report.check("the room is handed back", again.Hub == d.atlanta.domain, "mimid room move, by the operator of %s: ordered by %s in term %s; %s", hub.domain, again.Hub, again.Term, ms(took))
	return nil
}

func (d *demo) compare() error {
	if err := d.settled(); err != nil {
		return err
	}
	first, err := d.alice.c.Verify(d.ctx, d.alice.room.URI)
	if err != nil {
		return err
	}
	for _, p := range d.people() {
		v, err := p.c.Verify(d.ctx, p.room.URI)
		if err != nil {
			return err
		}
		d.report.check(p.name+" is in the same group and has the same log", v == first, "epoch %d, authenticator %s..., entry %d, head %s...", v.Epoch, v.Authenticator[:12], v.Next-1, v.Head[:12])
	}
	for _, p := range d.providers() {
		r, err := p.room(d.alice.room.URI.String())
		if err != nil {
			return err
		}
		d.report.check(p.domain+" has the same log", r.Head == first.Head && r.Next == first.Next && r.Epoch == first.Epoch, "entry %d, head %s...", r.Next-1, r.Head[:12])
	}
	texts, err := d.alice.texts(d.ctx)
	if err != nil {
		return err
	}
	for _, p := range d.people()[1:] {
		mine, err := p.texts(d.ctx)
		if err != nil {
			return err
		}
		d.report.check(p.name+" has read what alice has, in the same order", equal(texts, mine), "%s", plural(len(mine), "message"))
	}
	for _, p := range d.providers() {
		leaks, err := grep(p.dir, []byte("says number"))
		if err != nil {
			return err
		}
		d.report.check(p.domain+" has stored nothing that it could read", leaks == 0, "%s with plaintext", plural(leaks, "file"))
	}
	return nil
}

// afterwards checks the stores of the stopped providers from end to end.
func (d *demo) afterwards() {
	d.report.chapter("The stopped providers' stores are checked from end to end")
	for _, p := range d.providers() {
		out, err := d.run(context.WithoutCancel(d.ctx), "verify", "--json", "--dir", p.dir)
		d.report.check("no fault in the store of "+p.domain, err == nil && !bytes.Contains(out, []byte(`"faults"`)), "%s", strings.TrimSpace(string(out)))
	}
}

// joined waits until somebody is in the room.
func (d *demo) joined(p *person) error {
	err := d.eventually(func() (bool, error) {
		_, err := p.c.Verify(d.ctx, p.room.URI)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%s does not get into %s: %w", p.name, p.room.URI, err)
	}
	return nil
}

// settled has everybody say what has come to them, and waits until nothing in the room
// moves any more.
func (d *demo) settled() error {
	for range 2 { // the second time for what came while others said so
		if err := d.together(); err != nil {
			return err
		}
		for _, p := range d.people() {
			if err := p.c.SettleReceipts(d.ctx); err != nil {
				return fmt.Errorf("receipts of %s: %w", p.name, err)
			}
		}
	}
	return d.together()
}

// together waits until everybody in the room has the same entries.
func (d *demo) together() error {
	var last []string
	err := d.eventually(func() (bool, error) {
		last = last[:0]
		var first client.Summary
		same := true
		for _, p := range d.people() {
			if p.room.URI != d.alice.room.URI {
				continue
			}
			v, err := p.c.Verify(d.ctx, p.room.URI)
			if err != nil {
				return false, nil
			}
			last = append(last, fmt.Sprintf("%s %d", p.name, v.Next))
			if first == (client.Summary{}) {
				first = v
			}
			same = same && v == first
		}
		return same, nil
	})
	if err != nil {
		return fmt.Errorf("the members do not come together (%s): %w", strings.Join(last, ", "), err)
	}
	return nil
}

// heard waits until everybody has so many messages.
func (d *demo) heard(n int) error {
	var last []string
	err := d.eventually(func() (bool, error) {
		last = last[:0]
		all := true
		for _, p := range d.people() {
			texts, err := p.texts(d.ctx)
			if err != nil {
				return false, err
			}
			last = append(last, fmt.Sprintf("%s %d", p.name, len(texts)))
			all = all && len(texts) >= n
		}
		return all, nil
	})
	if err != nil {
		return fmt.Errorf("not all have %d messages (%s): %w", n, strings.Join(last, ", "), err)
	}
	return nil
}

var errPatience = errors.New("not within 20 seconds")

// eventually asks again and again.
func (d *demo) eventually(f func() (bool, error)) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		ok, err := f()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errPatience
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-d.ctx.Done():
			return d.ctx.Err()
		}
	}
}
