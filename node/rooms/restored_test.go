package rooms_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/mimid/mimid/node/logstore"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// backup takes a backup of a provider's store, and returns what puts the provider,
// stopped, back to that.
func (p *provider) backup() (restore func()) {
	t := p.w.t
	t.Helper()
	var b bytes.Buffer
	must(p.st.Backup(context.Background(), &b, nil, nil))(t)
	return func() {
		t.Helper()
		p.close()
		p.set(func() { p.dir = t.TempDir() + "/store" })
		r := must(store.ReadBackup(&b))(t)
		must(r.Restore(context.Background(), store.Options{Dir: p.dir, Small: !p.w.large}, nil))(t)
		clear(p.topics)
		p.start()
	}
}

func (p *provider) marked(id store.RoomID) (is bool) {
	t := p.w.t
	t.Helper()
	if err := p.st.View(func(tx *store.Tx) (err error) {
		is, err = logstore.Restored(tx, room.ID(id))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return is
}

// TestRestoredHub: a hub that decides alone and comes from an old backup learns from
// the others what it has forgotten, and orders on in a new term. While somebody does
// not answer, it orders nothing.
func TestRestoredHub(t *testing.T) {
	w, alice, bob, id := pair(t, nil)
	watchedLater := w.ps[three[0]]
	say := func(d *device, text string) {
		t.Helper()
		if r, err := d.send(id, d.message(text)); err != nil || r.Code != wire.SubmitAccepted {
			t.Fatalf("%s: %v, %v", text, r, err)
		}
	}
	say(alice, "kept")
	restore := watchedLater.backup()
	say(alice, "forgotten")
	bob.read(id, "kept", "forgotten")
	before := w.ps[three[1]].log(id)
	biloxi := w.ps[three[1]]
	biloxi.set(func() { biloxi.down = true })
	restore()
	if !watchedLater.marked(id) {
		t.Fatal("a restored room is not marked")
	}
	late := alice.message("too early")
	if _, err := alice.send(id, late); err == nil {
		t.Fatal("a hub that does not know what it has forgotten orders")
	}
	biloxi.set(func() { biloxi.down = false })
	alice.say(id, "after")
	bob.read(id, "kept", "forgotten", "after")
	now := biloxi.log(id)
	for i, e := range before {
		if now[i].Hash() != e.Hash() {
			t.Fatalf("entry %d is another one after the restore", i)
		}
	}
	if last := now[len(now)-1]; last.Term.Compare(before[0].Term) <= 0 {
		t.Errorf("the log goes on in term %s", last.Term)
	}
	eventually(t, "the mark goes", func() bool { return !watchedLater.marked(id) })
}

// TestRestoredReplica: one of three replicas comes from an old backup, catches up, and
// votes again only then.
func TestRestoredReplica(t *testing.T) {
	w, _, bob, carol, id := trio(t)
	chicago := w.ps[three[2]]
	restore := chicago.backup()
	bob.say(id, "forgotten")
	carol.read(id, "forgotten")
	restore()
	eventually(t, "the mark goes", func() bool { return !chicago.marked(id) })
	atlanta := w.ps[three[0]]
	atlanta.set(func() { atlanta.down = true })
	w.suspect(id)
	bob.say(id, "with its vote")
	eventually(t, "the restored replica follows", func() bool {
		return chicago.stand(id).Next == w.ps[three[1]].stand(id).Next && chicago.stand(id).Hub == w.ps[three[1]].stand(id).Hub
	})
}
