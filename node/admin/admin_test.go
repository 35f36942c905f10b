package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/clientapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ctx  = context.Background()
	then = time.Unix(1_700_000_000, 0).UTC()
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fake is all services; it answers with what it was asked for.
type fake struct {
	t      testing.TB
	fail   error
	panics bool
	writes string // into a backup
	asked  string
}

func (f *fake) ask(format string, args ...any) error {
	if f.panics {
		panic("planted")
	}
	f.asked = fmt.Sprintf(format, args...)
	return f.fail
}

func (f *fake) limit(n int) {
	if n < 1 || n > admin.MaxPage {
		f.t.Errorf("limit %d reached the service", n)
	}
}

func (f *fake) CreateInvite(_ context.Context, n account.NewInvite) (*account.Invite, string, error) {
	if err := f.ask("create %+v", n); err != nil {
		return nil, "", err
	}
	return &account.Invite{ID: "abc", User: n.Name, Created: then, Expires: then.Add(n.Lifetime), Replaces: n.Replaces}, "secretcode", nil
}
func (f *fake) Invites(context.Context) ([]account.Invite, error) {
	return []account.Invite{{ID: "abc", User: "alice", Used: then, Device: "phone"}, {ID: "def", User: "bob"}}, f.ask("invites")
}
func (f *fake) RevokeInvite(_ context.Context, id string) error { return f.ask("revoke %s", id) }
func (f *fake) Users(_ context.Context, after string, limit int) ([]account.User, error) {
	f.limit(limit)
	return []account.User{{Name: "alice", URI: "mimi://a.example/u/alice", Created: then,
		Devices: []clientapi.Device{{Name: "phone", CreatedAt: then.UnixMilli(), KeyPackages: 3}}}}, f.ask("users %q %d", after, limit)
}
func (f *fake) ListRooms(_ context.Context, after string, limit int) ([]admin.Room, error) {
	f.limit(limit)
	return []admin.Room{{ID: "0102", Next: 5}}, f.ask("rooms %q %d", after, limit)
}
func (f *fake) MoveRoom(_ context.Context, id, target string) (*admin.Moved, error) {
	if target == "slow.example" {
		return nil, &clientapi.Problem{Status: 504, Code: clientapi.CodeUnavailable, Detail: "later"}
	}
	return &admin.Moved{Room: admin.Room{ID: id, Hub: target}, Pause: 7}, nil
}

func (f *fake) DrainRooms(_ context.Context, progress func(admin.Draining)) (*admin.Drained, error) {
	if f.writes != "" {
		progress(admin.Draining{Rooms: 3, Moved: 1})
	}
	return &admin.Drained{Draining: admin.Draining{Rooms: 3, Moved: 2, Stayed: 1}, Left: []admin.LeftRoom{{ID: "01", Why: "alone"}}, Voter: 2}, f.ask("drain")
}

func (f *fake) ShowRoom(_ context.Context, id string) (*admin.Room, error) {
	return &admin.Room{ID: id, Participants: []admin.Participant{{User: "u", Role: "admin"}}}, f.ask("room %s", id)
}
func (f *fake) ShowBranch(_ context.Context, id string, branch uint32, from uint64, limit int) (*admin.LogPage, error) {
	return &admin.LogPage{Next: uint64(branch)}, f.ask("branch %q %d %d %d", id, branch, from, limit)
}

func (f *fake) RejoinRoom(_ context.Context, id string) (*admin.Room, error) {
	return &admin.Room{ID: id, Branches: []admin.Branch{{Number: 1, From: 4, End: 9}}}, f.ask("rejoin %q", id)
}

func (f *fake) ShowLog(_ context.Context, id string, from uint64, limit int) (*admin.LogPage, error) {
	f.limit(limit)
	return &admin.LogPage{Entries: []admin.LogEntry{{Seq: from, Kind: "message", Accepted: then}}}, f.ask("log %s %d %d", id, from, limit)
}
func (f *fake) Peers(context.Context) ([]admin.Peer, error) {
	return []admin.Peer{{Domain: "b.example", Trust: "first_use", Conflicts: []string{"ff"}, Expires: then}}, f.ask("peers")
}
func (f *fake) Pin(_ context.Context, domain, fingerprint string) error {
	return f.ask("pin %s %s", domain, fingerprint)
}
func (f *fake) Forget(_ context.Context, domain string) error { return f.ask("forget %s", domain) }
func (f *fake) Status(context.Context) (*admin.Status, error) {
	return &admin.Status{Domain: "a.example", PID: 42, Started: then, Users: 3}, f.ask("status")
}
func (f *fake) Doctor(context.Context) (*admin.Examination, error) {
	return &admin.Examination{Domain: "a.example", At: then, Checks: []admin.Check{{Part: "key", Outcome: admin.Good, Found: "fine"},
		{Part: "disk", Outcome: admin.Note, Found: "full", Do: "make room"}}}, f.ask("doctor")
}
func (f *fake) Onion(context.Context) (*admin.Onion, error) {
	return &admin.Onion{Epoch: 7, Ends: then, Warnings: []string{"thin"}}, f.ask("onion")
}
func (f *fake) OnionPing(_ context.Context, domain string) (*admin.OnionPinged, error) {
	return &admin.OnionPinged{Domain: domain, Took: 3}, f.ask("onion ping %s", domain)
}
func (f *fake) RotateKey(context.Context) (*admin.Rotated, error) {
	return &admin.Rotated{Old: "aa", New: "bb", Todo: []string{"change the TXT record"}}, f.ask("rotate")
}
func (f *fake) Verify(context.Context) (*admin.Verification, error) {
	return &admin.Verification{Rooms: 2, Entries: 9, Faults: []string{"room 01: entry 5 is missing"}}, f.ask("verify")
}
func (f *fake) Backup(_ context.Context, w io.Writer) (*admin.Backup, error) {
	if f.writes != "" {
		if _, err := io.WriteString(w, f.writes); err != nil {
			return nil, err
		}
	}
	return &admin.Backup{ID: "0a", Rooms: 2, Bytes: uint64(len(f.writes))}, f.ask("backup")
}

// socketDir is a data directory whose path is short enough for a socket.
func (f *fake) ListReports(_ context.Context, after uint64, limit int, all bool) ([]admin.AbuseReport, error) {
	f.limit(limit)
	return []admin.AbuseReport{{ID: 7, Abuser: "u", Received: then}}, f.ask("reports %d %d %v", after, limit, all)
}
func (f *fake) ShowReport(_ context.Context, id uint64) (*admin.AbuseReport, error) {
	return &admin.AbuseReport{ID: id}, f.ask("report %d", id)
}
func (f *fake) ResolveReport(_ context.Context, id uint64, ban bool) (*admin.AbuseReport, error) {
	return &admin.AbuseReport{ID: id, Outcome: "banned"}, f.ask("resolve %d %v", id, ban)
}

func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mimid")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newServer(t testing.TB, dir string) (*fake, *admin.Server) {
	t.Helper()
	f := &fake{t: t}
	s, err := admin.New(admin.Config{Dir: dir, Services: admin.Services{Accounts: f, Rooms: f, Peers: f, Node: f, Abuse: f}})
	must(t, err)
	return f, s
}

// run runs a server until the returned function is called.
func run(t testing.TB, s *admin.Server, dir string) (stop func()) {
	t.Helper()
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(runCtx) }()
	select {
	case <-s.Ready():
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	c.Close()
	return func() {
		cancel()
		must(t, <-ended)
	}
}

func TestEveryCall(t *testing.T) {
	dir := socketDir(t)
	f, s := newServer(t, dir)
	defer run(t, s, dir)()
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()
	for _, row := range []struct {
		asked string
		call  func() (any, error)
		want  any
	}{
		{"status", func() (any, error) { return c.Status(ctx) }, &admin.Status{Domain: "a.example", PID: 42, Started: then, Users: 3}},
		{"create {Name:alice Lifetime:1h0m0s Replaces:true}", func() (any, error) {
			return c.CreateInvite(ctx, admin.NewInvite{Name: "alice", Lifetime: 3600, Replaces: true})
		}, &admin.Invite{ID: "abc", Code: "secretcode", User: "alice", Created: then, Expires: then.Add(time.Hour), Replaces: true}},
		{"invites", func() (any, error) { return c.Invites(ctx) },
			[]admin.Invite{{ID: "abc", User: "alice", Used: &then, Device: "phone"}, {ID: "def", User: "bob"}}},
		{"revoke a/b", func() (any, error) { return nil, c.RevokeInvite(ctx, "a/b") }, nil},
		{`users "" 100`, func() (any, error) { return c.Users(ctx, "", 0) }, &admin.UserList{Users: []admin.User{{Name: "alice",
			URI: "mimi://a.example/u/alice", Created: then, Devices: []admin.Device{{Name: "phone", Created: then, KeyPackages: 3}}}}}},
		{`users "al&ce" 1`, func() (any, error) { u, err := c.Users(ctx, "al&ce", 1); return u.Next, err }, "alice"},
		{`rooms "01" 1`, func() (any, error) { return c.Rooms(ctx, "01", 1) }, &admin.RoomList{Rooms: []admin.Room{{ID: "0102", Next: 5}}, Next: "0102"}},
		{"room 0102", func() (any, error) { return c.Room(ctx, "0102") },
			&admin.Room{ID: "0102", Participants: []admin.Participant{{User: "u", Role: "admin"}}}},
		{"log 0102 7 1000", func() (any, error) { return c.Log(ctx, "0102", 7, 1000) },
			&admin.LogPage{Entries: []admin.LogEntry{{Seq: 7, Kind: "message", Accepted: then}}}},
		{"peers", func() (any, error) { return c.Peers(ctx) },
			[]admin.Peer{{Domain: "b.example", Trust: "first_use", Conflicts: []string{"ff"}, Expires: then}}},
		{"pin b.example ff00", func() (any, error) { return nil, c.Pin(ctx, "b.example", "ff00") }, nil},
		{"forget b.example", func() (any, error) { return nil, c.Forget(ctx, "b.example") }, nil},
		{"reports 3 100 false", func() (any, error) { return c.Reports(ctx, 3, false) }, &admin.AbuseList{Reports: []admin.AbuseReport{{ID: 7, Abuser: "u", Received: then}}}},
		{"reports 0 100 true", func() (any, error) { r, err := c.Reports(ctx, 0, true); return len(r.Reports), err }, 1},
		{"report 7", func() (any, error) { return c.Report(ctx, 7) }, &admin.AbuseReport{ID: 7}},
		{"resolve 7 true", func() (any, error) { return c.ResolveReport(ctx, 7, admin.ResolveAbuse{Ban: true}) }, &admin.AbuseReport{ID: 7, Outcome: "banned"}},
		{"onion", func() (any, error) { return c.Onion(ctx) }, &admin.Onion{Epoch: 7, Ends: then, Warnings: []string{"thin"}}},
		{"onion ping b.example", func() (any, error) { return c.OnionPing(ctx, "b.example") }, &admin.OnionPinged{Domain: "b.example", Took: 3}},
		{"doctor", func() (any, error) { return c.Doctor(ctx) }, &admin.Examination{Domain: "a.example", At: then, Checks: []admin.Check{
			{Part: "key", Outcome: admin.Good, Found: "fine"}, {Part: "disk", Outcome: admin.Note, Found: "full", Do: "make room"}}}},
		{"rotate", func() (any, error) { return c.RotateKey(ctx) }, &admin.Rotated{Old: "aa", New: "bb", Todo: []string{"change the TXT record"}}},
		{"verify", func() (any, error) { return c.Verify(ctx) },
			&admin.Verification{Rooms: 2, Entries: 9, Faults: []string{"room 01: entry 5 is missing"}}},
	} {
		got, err := row.call()
		if err != nil || f.asked != row.asked {
			t.Errorf("%s: the service was asked %q, error %v", row.asked, f.asked, err)
		}
		if d := cmp.Diff(row.want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
			t.Errorf("%s (-want +got):\n%s", row.asked, d)
		}
	}
}

func TestSocketIsPrivate(t *testing.T) {
	dir := socketDir(t)
	_, s := newServer(t, dir)
	stop := run(t, s, dir)
	info, err := os.Stat(filepath.Join(dir, admin.SocketName))
	must(t, err)
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode %o, want 600", got)
	}
	stop()
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left in the directory after the end: %v", left)
	}
	if _, err := admin.Dial(ctx, dir); !errors.Is(err, admin.ErrNotRunning) || !strings.Contains(err.Error(), "mimid serve") {
		t.Errorf("after the end: %v, want ErrNotRunning and what to do", err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := socketDir(t)
	_, first := newServer(t, dir)
	defer run(t, first, dir)()
	_, second := newServer(t, dir)
	if err := second.Run(ctx); !errors.Is(err, admin.ErrRunning) {
		t.Fatalf("second process: %v, want ErrRunning", err)
	}
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()
	if _, err := c.Status(ctx); err != nil {
		t.Errorf("the first process no longer answers: %v", err)
	}
}

// A crash leaves the file behind.
func TestStaleSocketIsReplaced(t *testing.T) {
	dir := socketDir(t)
	for _, name := range []string{admin.SocketName, admin.SocketName + ".new"} {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		must(t, err)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		must(t, l.Close())
	}
	if _, err := admin.Dial(ctx, dir); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("dialing a stale socket: %v, want ErrNotRunning", err)
	}
	_, s := newServer(t, dir)
	run(t, s, dir)()
}

func TestRunRefuses(t *testing.T) {
	t.Run("file in the way", func(t *testing.T) {
		dir := socketDir(t)
		path := filepath.Join(dir, admin.SocketName)
		must(t, os.WriteFile(path, []byte("precious"), 0o600))
		_, s := newServer(t, dir)
		if err := s.Run(ctx); !errors.Is(err, admin.ErrSocket) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want ErrSocket with the path", err)
		}
		if b, _ := os.ReadFile(path); string(b) != "precious" {
			t.Error("the file is gone")
		}
	})
	t.Run("path too long", func(t *testing.T) {
		_, s := newServer(t, "/tmp/"+strings.Repeat("x", 200))
		if err := s.Run(ctx); !errors.Is(err, admin.ErrSocket) || !strings.Contains(err.Error(), "shorter") {
			t.Errorf("got %v, want ErrSocket and what to do", err)
		}
	})
	t.Run("no directory", func(t *testing.T) {
		_, s := newServer(t, filepath.Join(socketDir(t), "gone"))
		if err := s.Run(ctx); !errors.Is(err, admin.ErrSocket) {
			t.Errorf("got %v, want ErrSocket", err)
		}
	})
	t.Run("config", func(t *testing.T) {
		if _, err := admin.New(admin.Config{Dir: "x"}); !errors.Is(err, admin.ErrConfig) {
			t.Errorf("got %v, want ErrConfig", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, row := range []struct {
		name, method, path, body string
		status                   int
		code                     clientapi.Code
	}{
		{"unknown path", "GET", "/nonsense", "", 404, clientapi.CodeNotFound},
		{"method not allowed", "PUT", "/invites", "", 404, clientapi.CodeNotFound},
		{"not JSON", "POST", "/invites", "{", 422, clientapi.CodeInvalid},
		{"empty body", "POST", "/invites", "", 422, clientapi.CodeInvalid},
		{"unknown field", "POST", "/invites", `{"nmae":"alice"}`, 422, clientapi.CodeInvalid},
		{"two values", "POST", "/invites", `{"name":"alice"}{}`, 422, clientapi.CodeInvalid},
		{"oversized", "POST", "/invites", `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, 413, clientapi.CodeTooLarge},
		{"negative lifetime", "POST", "/invites", `{"name":"alice","lifetime_s":-1}`, 422, clientapi.CodeInvalid},
		{"lifetime that overflows", "POST", "/invites", `{"name":"alice","lifetime_s":9223372036854775807}`, 422, clientapi.CodeInvalid},
		{"limit zero", "GET", "/users?limit=0", "", 422, clientapi.CodeInvalid},
		{"limit too high", "GET", "/rooms?limit=1001", "", 422, clientapi.CodeInvalid},
		{"limit no number", "GET", "/rooms/01/log?limit=x", "", 422, clientapi.CodeInvalid},
		{"from negative", "GET", "/rooms/01/log?from=-1", "", 422, clientapi.CodeInvalid},
		{"report no number", "GET", "/reports/x", "", 422, clientapi.CodeInvalid},
		{"reports from nowhere", "GET", "/reports?after=x", "", 422, clientapi.CodeInvalid},
		{"resolve without a word", "POST", "/reports/1/resolve", "", 422, clientapi.CodeInvalid},
		{"pin of no domain", "POST", "/peers/UPPER/pin", `{"fingerprint":"ff"}`, 422, clientapi.CodeInvalid},
		{"forget no domain", "DELETE", "/peers/a..b/pin", "", 422, clientapi.CodeInvalid},
		{"pin of nothing", "POST", "/peers/b.example/pin", "", 422, clientapi.CodeInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, s := newServer(t, "x")
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequest(row.method, row.path, strings.NewReader(row.body)))
			wantProblem(t, w, row.status, row.code)
			if f.asked != "" {
				t.Errorf("the service was asked %q", f.asked)
			}
		})
	}
}

func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code clientapi.Code) clientapi.Problem {
	t.Helper()
	var p clientapi.Problem
	b, _ := io.ReadAll(w.Result().Body)
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatalf("body %q: %v", b, err)
	}
	if w.Code != status || p.Status != status || p.Code != code || p.Detail == "" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, %+v, want %d and %s", w.Code, p, status, code)
	}
	return p
}

// An operator sees what went wrong, and a fault of one call does not end the node.
func TestFaultsAreShown(t *testing.T) {
	f, s := newServer(t, "x")
	f.fail = errors.New("the disk is full")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/status", nil))
	if p := wantProblem(t, w, 500, clientapi.CodeInternal); !strings.Contains(p.Detail, "disk is full") {
		t.Errorf("detail %q", p.Detail)
	}
	f.fail = fmt.Errorf("revoking: %w", &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "no invite"})
	w = httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("DELETE", "/invites/1", nil))
	wantProblem(t, w, 404, clientapi.CodeNotFound)
	f.panics = true
	w = httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/key/rotate", nil))
	wantProblem(t, w, 500, clientapi.CodeInternal)
}

// What answers may be another program, or stop in between.
func TestClientAgainstNonsense(t *testing.T) {
	dir := socketDir(t)
	l, err := net.Listen("unix", filepath.Join(dir, admin.SocketName))
	must(t, err)
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { http.Error(w, "nonsense", 500) },
		func(w http.ResponseWriter) { fmt.Fprint(w, "{") },
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(400)
			fmt.Fprint(w, "{}")
		},
	}
	n := 0
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answers[n](w) })}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()
	for n = range answers {
		if _, err := c.Status(ctx); !errors.Is(err, admin.ErrAnswer) {
			t.Errorf("answer %d: %v, want ErrAnswer", n, err)
		}
	}
	must(t, srv.Close())
	<-ended
	if _, err := c.Status(ctx); !errors.Is(err, admin.ErrNotRunning) {
		t.Errorf("after the node has gone: %v, want ErrNotRunning", err)
	}
}

var _ admin.Accounts = (*account.Registry)(nil)

// TestBackup: the stream arrives whole with its result; what fails before it or in its
// middle is an error, with the node's words.
func TestBackup(t *testing.T) {
	dir := socketDir(t)
	f, s := newServer(t, dir)
	defer run(t, s, dir)()
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()

	for _, size := range []int{1, 5000, 3 << 20} {
		f.writes = strings.Repeat("x", size)
		var got strings.Builder
		r, err := c.Backup(ctx, &got)
		must(t, err)
		if got.String() != f.writes || r.ID != "0a" || r.Bytes != uint64(size) {
			t.Errorf("%d bytes of %d, %+v", got.Len(), size, r)
		}
	}
	f.fail = errors.New("planted: \"quoted\"\nand a line")
	if _, err := c.Backup(ctx, io.Discard); !errors.Is(err, admin.ErrBackup) || !strings.Contains(err.Error(), f.fail.Error()) {
		t.Errorf("failing in the middle: %v", err)
	}
	f.writes = ""
	var p *clientapi.Problem
	if _, err := c.Backup(ctx, io.Discard); !errors.As(err, &p) || !strings.Contains(p.Detail, "planted") {
		t.Errorf("failing at once: %v", err)
	}
	f.fail = nil
	if _, err := c.Backup(ctx, io.Discard); !errors.Is(err, admin.ErrBackup) {
		t.Errorf("without a stream: %v", err)
	}
	f.writes = strings.Repeat("x", 3<<20)
	pr, pw := io.Pipe()
	must(t, pr.Close())
	if _, err := c.Backup(ctx, pw); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("nowhere to write to: %v", err)
	}
	f.panics = true
	if _, err := c.Backup(ctx, io.Discard); !errors.Is(err, admin.ErrBackup) || !strings.Contains(err.Error(), "planted") {
		t.Errorf("a panic in the middle: %v", err)
	}
}

// TestMoveRoom: a room and where it is to go reach the node; what is no domain does not.
func TestMoveRoom(t *testing.T) {
	dir := socketDir(t)
	_, srv := newServer(t, dir)
	defer run(t, srv, dir)()
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()
	r, err := c.MoveRoom(t.Context(), "3f9a", "biloxi.example")
	if err != nil || r.ID != "3f9a" || r.Hub != "biloxi.example" || r.Pause != 7 {
		t.Errorf("%+v, %v", r, err)
	}
	var p *clientapi.Problem
	if _, err := c.MoveRoom(t.Context(), "3f9a", "no domain"); !errors.As(err, &p) || p.Status != 422 {
		t.Errorf("no domain: %v", err)
	}
	if _, err := c.MoveRoom(t.Context(), "3f9a", "slow.example"); !errors.As(err, &p) || p.Status != 504 {
		t.Errorf("slow: %v", err)
	}
}

// TestRejoin: the wish to follow a room again and pieces of lost branches reach the node.
func TestRejoin(t *testing.T) {
	dir := socketDir(t)
	_, srv := newServer(t, dir)
	defer run(t, srv, dir)()
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()
	r, err := c.RejoinRoom(t.Context(), "3f9a")
	if err != nil || r.ID != "3f9a" || len(r.Branches) != 1 || r.Branches[0].From != 4 {
		t.Errorf("%+v, %v", r, err)
	}
	if l, err := c.Branch(t.Context(), "3f9a", 7, 5, 10); err != nil || l.Next != 7 {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := c.Log(t.Context(), "3f9a", 5, 10); err != nil || l.Next == 7 {
		t.Errorf("the log is a branch: %+v, %v", l, err)
	}
}

// TestDrain: progress and result come as they are; what goes wrong before, in the middle
// and without a word is told apart.
func TestDrain(t *testing.T) {
	dir := socketDir(t)
	f, srv := newServer(t, dir)
	stop := run(t, srv, dir)
	defer func() { stop() }()
	c, err := admin.Dial(ctx, dir)
	must(t, err)
	defer c.Close()
	var seen []admin.Draining
	note := func(d admin.Draining) { seen = append(seen, d) }
	for _, writes := range []string{"", "x"} {
		f.writes, seen = writes, nil
		d, err := c.Drain(ctx, note)
		if err != nil || d.Moved != 2 || d.Voter != 2 || len(d.Left) != 1 || d.Left[0].Why != "alone" || len(seen) != len(writes) {
			t.Errorf("%+v, %v, %v", d, seen, err)
		}
		if _, err := c.Drain(ctx, nil); err != nil {
			t.Error(err)
		}
		f.fail = &clientapi.Problem{Status: 409, Code: clientapi.CodeInvalid, Detail: "planted"}
		var p *clientapi.Problem
		if _, err := c.Drain(ctx, note); !errors.As(err, &p) || p.Status != 409 || p.Detail != "planted" {
			t.Errorf("a refusal: %v", err)
		}
		f.fail = nil
		f.panics = true
		if _, err := c.Drain(ctx, note); !errors.As(err, &p) || !strings.Contains(p.Detail, "planted") {
			t.Errorf("a panic: %v", err)
		}
		f.panics = false
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Drain(gone, note); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}
