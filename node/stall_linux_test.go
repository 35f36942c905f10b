package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// TestHubStalls: the hub of three answers everybody who asks whether it is alive, and can
// order nothing, because its disk is full. The two others are told, give the room another
// hub, and go on; when there is room again the old one follows, and nothing is lost that
// its own users have said.
func TestHubStalls(t *testing.T) {
	if err := probe(t, ownDisk); err != nil {
		t.Skipf("no file system of its own for a process here: %v", err)
	}
	w := newTrio(t, ownDisk, func(n *crashNode) {
		name := filepath.Join(n.dir, node.ConfigName)
		b := crashMust(os.ReadFile(name))(t)
		patient, impatient := []byte(`stall = '5s'`), []byte(`stall = '1s'`)
		if !bytes.Contains(b, patient) {
			t.Fatalf("%s does not say %s:\n%s", name, patient, b)
		}
		if err := os.WriteFile(name, bytes.Replace(b, patient, impatient, 1), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	for _, k := range w.talkers {
		hush := k.talk()
		defer hush()
		k.hush = hush
	}
	w.until("all are heard", func() bool {
		for _, k := range w.talkers {
			if _, ok := k.served(time.Time{}); !ok {
				return false
			}
		}
		return true
	})
	old, others := w.hub(w.talkers[0])
	before := time.Now()
	remove := old.at.fillDisk(fillerSize)
	after := time.Now()
	for _, k := range others {
		w.until(k.User().String()+" is served again", func() bool { _, ok := k.served(after); return ok })
		at, _ := k.served(after)
		k.mu.Lock()
		told := len(k.stalls) > 0 && k.stalls[0].After(before) && k.stalls[0].Before(at)
		k.mu.Unlock()
		if !told {
			t.Errorf("%s was not told that the hub orders nothing", k.User())
		}
		t.Logf("%s is heard again after %v", k.User(), at.Sub(before).Round(time.Millisecond))
	}
	if now, _ := w.hub(others[0]); now == old {
		t.Errorf("the room is still ordered by %s", old.at.domain)
	}
	remove()
	back := time.Now()
	w.until(old.User().String()+" is served again", func() bool { _, ok := old.served(back); return ok })
	for _, k := range w.talkers {
		k.hush()
	}
	entries := w.level()
	sent := 0
	for _, k := range w.talkers {
		sent += len(k.said)
	}
	for _, k := range w.talkers {
		has := k.has()
		for text, n := range has {
			if n != 1 {
				t.Errorf("%q is there %d times with %s", text, n, k.User())
			}
		}
		if len(has) != sent {
			t.Errorf("%s has %d of %d messages", k.User(), len(has), sent)
		}
	}
	t.Logf("%d messages sent, and with everybody; %d entries", sent, entries)
	for _, n := range w.nodes { // while they run: their disks end with them
		if err := n.operator(func(a *admin.Client) error {
			v, err := a.Verify(t.Context())
			if err == nil && (len(v.Faults) > 0 || v.Entries < entries) {
				t.Errorf("verifying %s: %+v; expected %d entries", n.domain, v, entries)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
}
