package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// TestAttach: a user of one provider attaches a file, one of the other fetches it by the
// hub, and both providers' stores are without faults.
func TestAttach(t *testing.T) {
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	alice, bob, _ := share(t, a, b)
	rooms, err := alice.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	room := rooms[0].URI
	big := make([]byte, 20<<20+7)
	rand.Read(big)
	for _, c := range []struct {
		name     string
		from, to *client.Client
		what     []byte
	}{
		{"kept by the hub", alice, bob, big},
		{"fetched through the hub", bob, alice, []byte("a few octets")},
		{"fetched by the sender", alice, alice, []byte{}},
	} {
		index, err := c.from.Attach(t.Context(), room, client.Outgoing{Name: "../secret/plan.txt", Text: "look", Content: bytes.NewReader(c.what), Size: int64(len(c.what))})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		list, err := c.from.Messages(room, index, 1)
		if err != nil || len(list) != 1 {
			t.Fatal(err)
		}
		id := list[0].ID
		within(t, c.name+": it arrives", func() bool {
			list, err := c.to.Messages(room, 0, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range list {
				if m.ID == id {
					index = m.Index
					return true
				}
			}
			return false
		})
		var got bytes.Buffer
		about, err := c.to.FetchAttachment(t.Context(), client.Fetch{Room: room, Index: index}, &got)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if about.Name != "plan.txt" || about.Size != int64(len(c.what)) || !bytes.Equal(got.Bytes(), c.what) {
			t.Errorf("%s: %+v, %d octets", c.name, about, got.Len())
		}
	}

	// All of it is checked, and comes back from a backup.
	v, err := a.n.Verify(t.Context())
	if err != nil || len(v.Faults) > 0 || v.Assets != 2 {
		t.Fatalf("checking a running node: %+v, %v", v, err)
	}
	var backup bytes.Buffer
	if _, err := a.n.Backup(t.Context(), &backup); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(backup.Bytes())
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := node.Restore(t.Context(), &backup, dir, nil); err != nil {
		t.Fatal(err)
	}
	check := func() *admin.Verification {
		t.Helper()
		cfg, err := node.ReadConfig(dir)
		if err != nil {
			t.Fatal(err)
		}
		v, err := node.Verify(t.Context(), cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := check(); len(v.Faults) > 0 || v.Assets != 2 {
		t.Errorf("checking what was restored: %+v", v)
	}
	// One octet of a file, and then the file.
	files, err := filepath.Glob(filepath.Join(dir, "assets", "??", "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	b0, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b0[len(b0)/2] ^= 1
	if err := os.WriteFile(files[0], b0, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	if v := check(); len(v.Faults) != 2 || !strings.Contains(v.Faults[0], "damaged") || !strings.Contains(v.Faults[1], "missing") {
		t.Errorf("faults %q", v.Faults)
	}
	// A backup that is damaged within an attachment, or cut there, gives nothing.
	at := bytes.Index(whole, b0[:len(b0)/2])
	if at < 0 {
		t.Fatal("the attachment is not in the backup")
	}
	for name, bad := range map[string][]byte{"cut": whole[:at+10], "damaged": slices.Concat(whole[:at], []byte{whole[at] ^ 1}, whole[at+1:])} {
		to := filepath.Join(t.TempDir(), "bad")
		if _, err := node.Restore(t.Context(), bytes.NewReader(bad), to, nil); err == nil {
			t.Errorf("%s: a backup is restored", name)
		} else if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something is left of it: %v", name, err)
		}
	}
}

// lastDownload keeps the last request for an attachment that a device has made.
type lastDownload struct{ atomic.Pointer[http.Request] }

func (l *lastDownload) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/v1/download") {
		l.Store(r.Clone(context.Background()))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestAttachPolicy: a room's asset_policy (room-policy section 8.4) reaches its providers,
// which obey it whatever devices do.
func TestAttachPolicy(t *testing.T) {
	ctx := t.Context()
	a := prepare(t, "atlanta.example").must()
	b := prepare(t, "biloxi.example", a.status().Addresses[0]).must()
	var fromAlice, fromBob lastDownload
	alice, bob := a.userBy("alice", &http.Client{Transport: &fromAlice}), b.userBy("bob", &http.Client{Transport: &fromBob})
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, room); return err == nil })
	fetch := func(c *client.Client, index uint64) error {
		_, err := c.FetchAttachment(ctx, client.Fetch{Room: room, Index: index}, io.Discard)
		return err
	}
	for i, c := range []*client.Client{alice, bob} {
		if _, err := c.Attach(ctx, room, client.Outgoing{Name: "x", Content: strings.NewReader("more than ten octets")}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client.Client{alice, bob} {
			within(t, "it is there", func() bool { got, err := c.Messages(room, 0, 100); return err == nil && len(got) == i+1 })
		}
	}
	// Each fetches what the other has sent: by the hub, which is at alice's provider.
	for index, c := range map[uint64]*client.Client{0: bob, 1: alice} {
		if err := fetch(c, index); err != nil {
			t.Fatal(err)
		}
	}
	again := func(l *lastDownload) int {
		t.Helper()
		resp, err := http.DefaultTransport.RoundTrip(l.Load())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if x, y := again(&fromAlice), again(&fromBob); x != 200 || y != 200 {
		t.Fatalf("the same requests again: %d, %d", x, y)
	}
	p := client.NewAssetPolicy()
	p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttached = 10, 10, 10, 10
	if err := alice.SetPolicy(ctx, room, p); err != nil {
		t.Fatal(err)
	}
	for index, c := range map[uint64]*client.Client{0: bob, 1: alice} {
		within(t, "the device obeys", func() bool { return errors.Is(fetch(c, index), client.ErrRefused) })
	}
	if x := again(&fromAlice); x != 502 {
		t.Errorf("the hub passes on what is too large: %d", x)
	}
	if x := again(&fromBob); x != 403 && x != 502 {
		t.Errorf("the hub hands out what is too large: %d", x)
	}
}
