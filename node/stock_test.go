package node_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/admin"
)

// TestUserWhoseDeviceIsGone: a device that is off for weeks. When its last KeyPackage has ended
// the log, the doctor and the metrics say how many users that is, and only the operator's
// own list says who.
func TestUserWhoseDeviceIsGone(t *testing.T) {
	var ahead atomic.Int64
	a := prepare(t, "atlanta.example")
	a.now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	a.must()
	var off func()
	a.atEnd = func(f func()) { off = f }
	alice := a.user("alice")
	within(t, "alice's KeyPackages", func() bool {
		s, err := alice.Stock(t.Context())
		return err == nil && s.Available == 50 && s.LastResort && s.Usable
	})
	a.examined("keypackages") // a round
	if s, err := alice.Stock(t.Context()); err != nil || s.Level != "fresh" {
		t.Errorf("alice's device is told %+v, %v", s, err)
	}
	off()
	ahead.Store(int64(31 * 24 * time.Hour))
	a.examined("keypackages")
	ahead.Add(int64(25 * time.Second))
	got := a.examined("keypackages")
	if len(got) != 1 || got[0].Outcome != admin.Note || !strings.Contains(got[0].Found, "1 of 1 users cannot be added") || strings.Contains(got[0].Found, "alice") {
		t.Errorf("the doctor says %+v", got)
	}
	if log := a.log.String(); !strings.Contains(log, "no_key_package=1 device_without=0 last_resort_only=0 users=1") || strings.Contains(log, "alice") {
		t.Errorf("the log says %s", log)
	}
	resp, err := http.Get("http://" + a.cfg.Metrics.Listen + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "mimid_users_without_key_package 1") {
		t.Errorf("the metrics do not count her: %v", err)
	}
	op, err := admin.Dial(t.Context(), a.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer op.Close()
	list, err := op.Users(t.Context(), "", 0)
	if err != nil || len(list.Users) != 1 || list.Users[0].Stock != "none" || list.Users[0].Devices[0].LastResort {
		t.Errorf("the operator sees %+v, %v", list, err)
	}
	if err := a.stop(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
