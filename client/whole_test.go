package client_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
)

// TestOnDisk talks from a real directory, opens it again, and looks for what must
// not stand in it.
func TestOnDisk(t *testing.T) {
	f := newFake(t)
	bob := f.person("bob", "biloxi.example")
	dir := t.TempDir()
	web := &http.Client{Transport: &http.Transport{}}
	defer web.CloseIdleConnections()
	alice := &person{t: t, f: f, name: "alice", domain: "atlanta.example"}
	var closed func()
	start := func() {
		t.Helper()
		s, err := disk.Open(disk.Options{Dir: dir, Small: true})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(context.Background()) }()
		alice.c, err = client.Open(client.Config{Storage: s, HTTP: web, Retry: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if alice.c.User().IsZero() {
			if err := alice.c.Register(ctx10(t), f.url("atlanta.example"), "alice", "phone"); err != nil {
				t.Fatal(err)
			}
		}
		alice.run()
		closed = func() {
			t.Helper()
			if err := errors.Join(alice.kill(), s.Close(context.Background()), <-ended); err != nil {
				t.Error(err)
			}
		}
	}
	start()
	f.ready(alice)
	u := alice.create("the clubhouse by the river")
	alice.add(u, bob)
	const said, answer = "what nobody else may read", "not even the disk"
	alice.send(u, said)
	bob.hears(u, "alice: "+said)
	closed()
	bob.send(u, answer)
	start()
	alice.hears(u, "alice: "+said, "bob: "+answer)
	agree(u, alice, bob)
	closed()

	f.mu.Lock()
	token := f.users[alice.user().String()].token
	f.mu.Unlock()
	secret := [][]byte{[]byte(said), []byte(answer), []byte(token), []byte("clubhouse"), []byte("mimi://"), []byte("atlanta"),
		[]byte("biloxi.example"), []byte(u.Name()), []byte("identity"), []byte("UserKey"), []byte("Private")}
	for _, s := range secret[:3] {
		secret = append(secret, []byte(base64.StdEncoding.EncodeToString(s)[:12]))
	}
	octets := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		octets += len(b)
		for _, s := range secret {
			if bytes.Contains(b, s) {
				t.Errorf("%s contains %q", filepath.Base(path), s)
			}
		}
		return err
	})
	if err != nil || octets < 50_000 {
		t.Errorf("read %d octets: %v", octets, err)
	}
}

// TestRenewal: certificates are renewed at two thirds of their time; groups and
// KeyPackages follow.
func TestRenewal(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("clubhouse")
	alice.add(u, bob)
	before, err := bob.c.Verify(ctx10(t), u)
	if err != nil {
		t.Fatal(err)
	}
	alice.kill()
	alice.store = alice.store.reopened()
	alice.late = 65 * 24 * time.Hour
	f.mu.Lock()
	f.late = alice.late
	f.mu.Unlock()
	alice.open()
	alice.run()
	eventually(t, "a commit with the new certificate", func() bool {
		s, err := bob.c.Verify(ctx10(t), u)
		return err == nil && s.Epoch == before.Epoch+1
	})
	f.mu.Lock()
	n := f.calls["POST /v1/account/certificate"]
	f.mu.Unlock()
	if n != 1 {
		t.Errorf("asked for %d certificates", n)
	}
	alice.send(u, "still me")
	bob.hears(u, "alice: still me")
	agree(u, alice, bob)
}

// TestUnread: an application that reads no notices holds nothing up, and learns
// that it missed some.
func TestUnread(t *testing.T) {
	f := newFake(t)
	alice := f.person("alice", "atlanta.example")
	u := alice.create("clubhouse")
	alice.few = 2
	alice.restart()
	for range 5 {
		alice.send(u, "x")
	}
	eventually(t, "all are final", func() bool {
		ms, err := alice.c.Messages(u, 0, 1000)
		return err == nil && len(ms) == 5 && ms[4].State == client.StateFinal
	})
	missed := false
	for len(alice.c.Events()) > 0 {
		<-alice.c.Events()
	}
	alice.send(u, "y")
	for !missed {
		select {
		case n := <-alice.c.Events():
			_, missed = n.(client.Missed)
		case <-time.After(time.Minute):
			t.Fatal("not told of what was missed")
		}
	}
}
