package feed_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/feed"
	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
	flag.Parse()
	if testing.Short() {
		flag.Set("rapid.checks", "25")
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var key = ed25519.NewKeyFromSeed(make([]byte, 32))

func user(name string) uri.User {
	u, err := uri.ParseShort(name + "@atlanta.example")
	if err != nil {
		panic(err)
	}
	return u
}

func client(name string) uri.Client {
	c, err := user(name).Provider().Client(name, "phone")
	if err != nil {
		panic(err)
	}
	return c
}

// desk is a feed over a store in memory, and the rooms that are written into it.
type desk struct {
	t     testing.TB
	st    *store.Store
	f     *feed.Feed
	rooms map[string]*log
	close func()
}

// log is a room as the test writes it: entries that mean nothing, in real batches.
type log struct {
	uri uri.Room
	id  room.ID
	at  room.Position
}

func open(t testing.TB) *desk { return openAt(t, store.Options{InMemory: true, Small: true}) }

func openAt(t testing.TB, o store.Options) *desk {
	t.Helper()
	st, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(context.Background()) })
	f, err := feed.Open(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t: t, st: st, f: f, rooms: map[string]*log{}, close: sync.OnceFunc(func() {
		st.Close(context.Background())
		wg.Wait()
	})}
}

// write appends a batch of n entries to a room, for readers, of whom some join or
// leave with it. encode says whether the batch is encoded for open streams.
func (d *desk) write(name string, n int, readers, join, leave []uri.User, encode bool) {
	d.t.Helper()
	l := d.rooms[name]
	if l == nil {
		u, err := uri.ParseRoom("mimi://atlanta.example/r/" + name)
		if err != nil {
			d.t.Fatal(err)
		}
		l = &log{uri: u, id: room.IDOf([]byte(u.String()))}
		d.rooms[name] = l
	}
	var es []*room.Entry
	at := l.at
	for range n {
		e := &room.Entry{Room: l.id, Term: room.FirstTerm, Seq: at.Next, Prev: at.Last, Kind: room.KindMessage, Body: []byte(fmt.Sprint(name, at.Next))}
		if at.Next == 0 {
			e.Kind = room.KindCreate
		}
		at = room.Position{Term: e.Term, Next: e.Seq + 1, Last: e.Hash()}
		es = append(es, e)
	}
	b, err := room.Seal(l.id, l.at, es, key)
	if err != nil {
		d.t.Fatal(err)
	}
	var data []byte
	if encode {
		var enc [][]byte
		for _, e := range es {
			enc = append(enc, e.Append(nil))
		}
		h := b.Head()
		data = feed.EntriesData(l.id, enc, h.Append(nil))
	}
	d.update(func(tx *store.Tx) error {
		pos, err := d.f.Next(tx)
		if err != nil {
			return err
		}
		for _, u := range join {
			if err := d.f.Join(tx, u, l.id, pos); err != nil {
				return err
			}
		}
		for _, u := range leave {
			if err := d.f.Leave(tx, u, l.id, pos); err != nil {
				return err
			}
		}
		d.f.Entries(tx, l.id, readers, pos, data)
		return errors.Join(logstore.Append(tx, l.id, b, nil, pos), logstore.PutHead(tx, &logstore.Head{URI: l.uri, At: b.After(), Feed: pos}))
	})
	l.at = b.After()
}

func (d *desk) put(u uri.User, text string) {
	d.t.Helper()
	d.update(func(tx *store.Tx) error { return d.f.Put(tx, u, clientapi.EventConsent, text) })
}

func (d *desk) update(fn func(tx *store.Tx) error) {
	d.t.Helper()
	if err := d.st.Update(context.Background(), fn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) stream(u uri.User, name, cursor string) *feed.Stream {
	d.t.Helper()
	s, err := d.f.Open(context.Background(), u, client(name), cursor)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// event is what a stream said: entries as "room/first-last", others as they are.
type event struct{ id, what string }

func parse(t testing.TB, frame []byte) (e event, kind string) {
	t.Helper()
	if !bytes.HasSuffix(frame, []byte("\n\n")) {
		t.Fatalf("frame %q", frame)
	}
	var data string
	for line := range strings.Lines(string(frame)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch k {
		case "id":
			e.id = v
		case "event":
			kind = v
		case "data":
			data = v
		}
	}
	switch kind {
	case clientapi.EventEntries:
		var x clientapi.Entries
		if err := json.Unmarshal([]byte(data), &x); err != nil {
			t.Fatal(err)
		}
		var seqs []uint64
		for _, b := range x.Entries {
			en, err := room.ParseEntry(b)
			if err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, en.Seq)
		}
		h, err := room.ParseSignedHead(x.Head)
		if err != nil || h.Seq != seqs[len(seqs)-1] {
			t.Fatalf("head %v of %v: %v", h, seqs, err)
		}
		e.what = fmt.Sprintf("%.6s/%d-%d", x.Room, seqs[0], seqs[len(seqs)-1])
	default:
		e.what = kind + data
	}
	return e, kind
}

// drain reads until nothing comes any more.
func drain(t testing.TB, s *feed.Stream) []event {
	t.Helper()
	var out []event
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		frames, err := s.Next(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			if e, kind := parse(t, f); kind != clientapi.EventHello {
				out = append(out, e)
			}
		}
	}
}

// TestStreams: whatever is written, each stream says exactly what concerns its
// user, once and in order, wherever it begins and however slowly it reads.
func TestStreams(t *testing.T) {
	names := []string{"alice", "bob", "carol"}
	rooms := []string{"one", "two"}
	rapid.Check(t, func(rt *rapid.T) {
		d := open(t)
		defer d.close()
		type membership map[string]bool
		in := map[string]membership{"one": {}, "two": {}}
		want := map[string][]string{} // user -> events, in order
		live := map[string]*feed.Stream{}
		heard := map[string][]event{}
		defer func() {
			for _, s := range live {
				s.Close()
			}
		}()
		n := 0
		left := map[string]bool{} // room and user: has been there and left
		step := func() {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0, 1, 2, 3, 4: // a batch
				r := rapid.SampledFrom(rooms).Draw(rt, "room")
				k := rapid.IntRange(1, 3).Draw(rt, "entries")
				var readers, join, leave []uri.User
				for _, u := range names {
					switch was := in[r][u]; {
					case !was && !left[r+u] && rapid.IntRange(0, 3).Draw(rt, "join "+u) == 0:
						join = append(join, user(u))
						in[r][u] = true
					case was && rapid.IntRange(0, 9).Draw(rt, "leave "+u) == 0:
						leave = append(leave, user(u))
						delete(in[r], u)
					case !was:
						continue
					}
					readers = append(readers, user(u))
				}
				from := uint64(0)
				if l := d.rooms[r]; l != nil {
					from = l.at.Next
				}
				for _, u := range leave {
					left[r+u.Name()] = true
				}
				d.write(r, k, readers, join, leave, rapid.Bool().Draw(rt, "encode"))
				for _, u := range readers {
					want[u.Name()] = append(want[u.Name()], fmt.Sprintf("%.6s/%d-%d", d.rooms[r].id, from, d.rooms[r].at.Next-1))
				}
			case 5, 6: // an event of a user's own
				u := rapid.SampledFrom(names).Draw(rt, "user")
				n++
				d.put(user(u), fmt.Sprint(n))
				want[u] = append(want[u], fmt.Sprintf("consent\"%d\"", n))
			case 7: // a stream opens where the user was
				u := rapid.SampledFrom(names).Draw(rt, "user")
				if live[u] != nil {
					live[u].Close()
				}
				cursor := ""
				if h := heard[u]; len(h) > 0 {
					i := rapid.IntRange(0, len(h)-1).Draw(rt, "from")
					cursor, heard[u] = h[i].id, h[:i+1]
				}
				live[u] = d.stream(user(u), u, cursor)
			case 8: // a stream reads
				u := rapid.SampledFrom(names).Draw(rt, "user")
				if live[u] != nil {
					heard[u] = append(heard[u], drain(t, live[u])...)
				}
			}
		}
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			step()
		}
		for _, u := range names {
			if live[u] == nil {
				live[u] = d.stream(user(u), u, "")
			}
			heard[u] = append(heard[u], drain(t, live[u])...)
			var got []string
			for _, e := range heard[u] {
				got = append(got, e.what)
			}
			if !slices.Equal(got, want[u]) {
				rt.Fatalf("%s heard %v, expected %v", u, got, want[u])
			}
		}
	})
}

// TestLongBacklog: pages end where they must, across several rooms and many events,
// with one frame at a time.
func TestLongBacklog(t *testing.T) {
	d := open(t)
	defer d.close()
	alice := []uri.User{user("alice")}
	var want []string
	for i := range 500 {
		r := []string{"one", "two", "three"}[i%3]
		var join []uri.User
		from := uint64(0)
		if l := d.rooms[r]; l == nil {
			join = alice
		} else {
			from = l.at.Next
		}
		d.write(r, 1+i%4, alice, join, nil, false)
		want = append(want, fmt.Sprintf("%.6s/%d-%d", d.rooms[r].id, from, d.rooms[r].at.Next-1))
		if i%5 == 0 {
			d.put(alice[0], fmt.Sprint(i))
			want = append(want, fmt.Sprintf("consent\"%d\"", i))
		}
	}
	s := d.stream(alice[0], "alice", "")
	defer s.Close()
	all := drain(t, s)
	check := func(got []event, want []string) {
		t.Helper()
		for i := range want {
			if i >= len(got) || got[i].what != want[i] {
				t.Fatalf("event %d of %d, %d expected: %v", i, len(got), len(want), got[min(i, len(got)-1)])
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d events, %d expected", len(got), len(want))
		}
	}
	check(all, want)
	for _, i := range []int{0, 1, 63, 64, 65, 300, len(all) - 2, len(all) - 1} {
		again := d.stream(alice[0], "alice", all[i].id)
		check(drain(t, again), want[i+1:])
		again.Close()
	}
}

// TestOverflow: a stream that does not read while more than its queue comes reads
// the rest from the store.
func TestOverflow(t *testing.T) {
	d := open(t)
	defer d.close()
	bob := user("bob")
	s := d.stream(bob, "bob", "")
	defer s.Close()
	drain(t, s)
	text := strings.Repeat("x", 50<<10)
	for range 60 { // 3 MB; a queue holds one
		d.put(bob, text)
	}
	if got := drain(t, s); len(got) != 60 {
		t.Errorf("%d of 60 events", len(got))
	}
}

func TestCursors(t *testing.T) {
	d := open(t)
	defer d.close()
	bob := user("bob")
	d.put(bob, "one")
	d.put(bob, "two")
	hello := func(cursor string) (h clientapi.Hello) {
		t.Helper()
		s := d.stream(bob, "bob", cursor)
		defer s.Close()
		fr, err := s.Next(context.Background())
		if err != nil || len(fr) != 1 {
			t.Fatal(fr, err)
		}
		_, data, _ := strings.Cut(string(fr[0]), "data: ")
		if err := json.Unmarshal([]byte(data), &h); err != nil {
			t.Fatal(err)
		}
		return h
	}
	s := d.stream(bob, "bob", "")
	all := drain(t, s)
	s.Close()
	if h := hello(all[0].id); !h.Resumed || h.Client != client("bob").String() || h.Cursor != all[0].id {
		t.Errorf("%+v", h)
	}
	other := open(t)
	defer other.close()
	other.put(bob, "x")
	os := other.stream(bob, "bob", "")
	foreign := drain(t, os)[0].id
	os.Close()
	id, _, _ := strings.Cut(all[0].id, ".")
	for _, c := range []string{"", "nonsense", foreign, id + ".3", id + ".99999999999999999999", id + ".-1"} {
		if h := hello(c); h.Resumed {
			t.Errorf("cursor %q is taken", c)
		}
	}
}

// TestCursorOfBeforeTheBackup: a device that comes back to a restored provider with a cursor of before hears of all that
// has happened since, though positions are taken again.
func TestCursorOfBeforeTheBackup(t *testing.T) {
	d := open(t)
	defer d.close()
	bob := user("bob")
	d.put(bob, "one")
	var b bytes.Buffer
	if _, err := d.st.Backup(t.Context(), &b, nil, nil); err != nil {
		t.Fatal(err)
	}
	d.put(bob, "two")
	d.put(bob, "three")
	s := d.stream(bob, "bob", "")
	all := drain(t, s)
	s.Close()

	seen := []string{all[2].id}
	for range 2 { // a backup is restored, and the same once more
		r, err := store.ReadBackup(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		o := store.Options{Dir: filepath.Join(t.TempDir(), "store"), Small: true}
		if _, err := r.Restore(t.Context(), o, nil); err != nil {
			t.Fatal(err)
		}
		again := openAt(t, o)
		defer again.close()
		for _, text := range []string{"and", "then", "another"} {
			again.put(bob, text)
		}
		for _, cursor := range seen {
			s := again.stream(bob, "bob", cursor)
			var heard []string
			for _, e := range drain(t, s) {
				heard = append(heard, e.what)
			}
			s.Close()
			if len(heard) != 4 || !strings.Contains(heard[1], "and") || !strings.Contains(heard[3], "another") {
				t.Errorf("from cursor %s the device hears %q", cursor, heard)
			}
		}
		s := again.stream(bob, "bob", "")
		now := drain(t, s)
		s.Close()
		seen = append(seen, now[3].id)
		s = again.stream(bob, "bob", now[2].id)
		if rest := drain(t, s); len(rest) != 1 || rest[0].id != now[3].id {
			t.Errorf("from a cursor of its own: %v", rest)
		}
		s.Close()
		time.Sleep(2 * time.Millisecond) // what is restored in one millisecond is one
	}
}

func TestInboxIsBounded(t *testing.T) {
	d := open(t)
	defer d.close()
	bob := user("bob")
	for i := 0; i < feed.MaxInbox+150; i += 50 {
		d.update(func(tx *store.Tx) error {
			for j := range 50 {
				if err := d.f.Put(tx, bob, clientapi.EventConsent, i+j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	s := d.stream(bob, "bob", "")
	defer s.Close()
	if got := drain(t, s); len(got) != feed.MaxInbox {
		t.Errorf("%d events are kept, %d expected", len(got), feed.MaxInbox)
	}
}

// TestPutCost: what a put reads does not depend on how many events there are.
func TestPutCost(t *testing.T) {
	d := open(t)
	defer d.close()
	alice := user("alice")
	put := func(n int) {
		d.update(func(tx *store.Tx) error {
			for i := range n {
				if err := d.f.Put(tx, alice, "event", i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range feed.MaxInbox / 50 {
		put(50)
	}
	before := d.f.Trimmed()
	if before > 1 {
		t.Errorf("%d keys read to put %d events", before, feed.MaxInbox)
	}
	for range 40 {
		put(10)
	}
	if n := d.f.Trimmed() - before; n != 2*400 {
		t.Errorf("%d keys read for 400 events in a full inbox, 2 each expected", n)
	}
}

// TestOnce: a Welcome is told once, whatever else is told.
func TestOnce(t *testing.T) {
	d := open(t)
	defer d.close()
	var got []bool
	for _, next := range []uint64{2, 2, 3, 2} {
		d.update(func(tx *store.Tx) error {
			first, err := d.f.Once(tx, room.ID{1}, next)
			got = append(got, first)
			return err
		})
	}
	if !slices.Equal(got, []bool{true, false, true, false}) {
		t.Errorf("first: %v", got)
	}
}

// TestEntriesData: by hand, and yet what encoding/json makes of it.
func TestEntriesData(t *testing.T) {
	id := room.ID{1, 2, 3}
	es := [][]byte{{0}, {255, 254}, []byte("three"), {}}
	want, err := json.Marshal(clientapi.Entries{Room: id.String(), Entries: es, Head: []byte("head")})
	if err != nil {
		t.Fatal(err)
	}
	if got := feed.EntriesData(id, es, []byte("head")); !bytes.Equal(got, want) {
		t.Errorf("%s\n%s", got, want)
	}
}

// TestComingBack: who returns to a room sees what it missed, except what it was told
// before.
func TestComingBack(t *testing.T) {
	d := open(t)
	defer d.close()
	bob := []uri.User{user("bob")}
	d.write("one", 1, nil, nil, nil, false) // before bob
	d.write("one", 1, bob, bob, nil, false)
	d.write("one", 1, bob, nil, bob, false)
	d.write("one", 1, nil, nil, nil, false) // without bob
	s := d.stream(bob[0], "bob", "")
	defer s.Close()
	id := fmt.Sprintf("%.6s", d.rooms["one"].id)
	if got := drain(t, s); len(got) != 2 || got[0].what != id+"/1-1" || got[1].what != id+"/2-2" {
		t.Fatal(got)
	}
	d.update(func(tx *store.Tx) error {
		if in, err := d.f.Member(tx, bob[0], d.rooms["one"].id); err != nil || in {
			t.Errorf("bob is still in: %v", err)
		}
		return nil
	})
	d.write("one", 1, bob, bob, nil, true)
	if got := drain(t, s); len(got) != 1 || got[0].what != id+"/4-4" {
		t.Fatal(got)
	}
	fresh := d.stream(bob[0], "bob", "")
	defer fresh.Close()
	if got := drain(t, fresh); len(got) != 4 {
		t.Errorf("a new device of bob hears %v", got)
	}
}
