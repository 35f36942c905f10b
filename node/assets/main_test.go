package assets_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// who is a user's device.
func who(t testing.TB, name string) account.Identity {
	t.Helper()
	u, err := uri.ParseUser("mimi://atlanta.example/u/" + name)
	must(t, err)
	c, err := uri.ParseClient("mimi://atlanta.example/d/" + name + "/phone")
	must(t, err)
	return account.Identity{User: u, Client: c, Device: "phone"}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func hashOf(b []byte) asset.Hash { return sha256.Sum256(b) }

var w0 time.Time // of no modification

var errPlanted = errors.New("planted")

// database is a store whose failAt-th update fails, before or after it has happened, and
// all after it, as after a crash.
type database struct {
	*store.Store
	mu              sync.Mutex
	updates, failAt int
	happened        bool
}

func (d *database) Update(ctx context.Context, fn func(*store.Tx) error) error {
	d.mu.Lock()
	d.updates++
	n := d.updates
	d.mu.Unlock()
	if d.failAt > 0 && (n > d.failAt || n == d.failAt && !d.happened) {
		return errPlanted
	}
	err := d.Store.Update(ctx, fn)
	if d.failAt > 0 && n == d.failAt && err == nil {
		return errPlanted
	}
	return err
}

// world is a Store and what it stands on.
type world struct {
	t   testing.TB
	dir string
	db  *database
	now time.Time
	cfg func(*assets.Config)
	*assets.Store
}

func newWorld(t testing.TB, change ...func(*assets.Config)) *world {
	t.Helper()
	st, err := store.Open(store.Options{InMemory: true, Small: true})
	must(t, err)
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(run) }()
	t.Cleanup(func() {
		cancel()
		must(t, errors.Join(<-ended, st.Close(ctx)))
	})
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "assets"), db: &database{Store: st}, now: time.Now(),
		cfg: func(c *assets.Config) {
			for _, f := range change {
				f(c)
			}
		}}
	w.reopen()
	return w
}

// reopen is a start of the next process.
func (w *world) reopen() {
	w.t.Helper()
	w.db = &database{Store: w.db.Store}
	cfg := assets.Config{Domain: "atlanta.example", Database: w.db, Dir: w.dir, Now: func() time.Time { return w.now }}
	w.cfg(&cfg)
	var err error
	w.Store, err = assets.Open(cfg)
	must(w.t, err)
}

// bring uploads all of b as a client does, in parts of a size, and returns its URL.
func (w *world) bring(user string, b []byte, part int) (*clientapi.Asset, error) {
	w.t.Helper()
	id := who(w.t, user)
	h := hashOf(b).String()
	a, err := w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: int64(len(b))})
	if err != nil {
		return nil, err
	}
	for !a.Complete {
		end := min(len(b), int(a.Offset)+part)
		next, err := w.Append(ctx, id, h, a.Offset, bytes.NewReader(b[a.Offset:end]))
		if err != nil {
			return nil, err
		}
		if next.Offset != int64(end) && !next.Complete {
			w.t.Fatalf("sent up to %d, the offset is %d", end, next.Offset)
		}
		a = next
	}
	return a, nil
}

// get downloads an asset, with headers.
func (w *world) get(h asset.Hash, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	req := httptest.NewRequest("GET", asset.Path+h.String(), nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	w.Handler(func(*http.Request) (string, bool) { return "b", true }, assets.NewBudget(assets.BudgetConfig{}), next).ServeHTTP(rec, req)
	return rec
}

// serve is any request of another provider.
func (w *world) serve(method, target string) *httptest.ResponseRecorder {
	req, rec := httptest.NewRequest(method, target, nil), httptest.NewRecorder()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	w.Handler(func(*http.Request) (string, bool) { return "", false }, assets.NewBudget(assets.BudgetConfig{}), next).ServeHTTP(rec, req)
	return rec
}

// files lists what lies in the directory.
func (w *world) files() (out []string) {
	w.t.Helper()
	must(w.t, filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(w.dir, path)
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	}))
	return out
}

// wantFiles says that nothing but these assets lies there.
func (w *world) wantFiles(hashes ...asset.Hash) {
	w.t.Helper()
	var want []string
	for _, h := range hashes {
		want = append(want, assets.Name(h))
	}
	slices.Sort(want)
	got := w.files()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("files %v, want %v", got, want)
	}
}

func (w *world) wantUsed(user string, octets int64, n int) {
	w.t.Helper()
	list, err := w.Assets(ctx, who(w.t, user))
	must(w.t, err)
	if list.Used != octets || len(list.Assets) != n {
		w.t.Errorf("%s keeps %d in %d octets, want %d in %d", user, len(list.Assets), list.Used, n, octets)
	}
}

func wantProblem(t testing.TB, err error, status int, code clientapi.Code) *clientapi.Problem {
	t.Helper()
	var p *clientapi.Problem
	if !errors.As(err, &p) || p.Status != status || p.Code != code {
		t.Fatalf("got %v, want a problem %d %s", err, status, code)
	}
	return p
}

// breaking is a body that breaks off.
func breaking(b []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(b), readerFunc(func([]byte) (int, error) { return 0, errPlanted }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// onlyUpload is the one file of an upload.
func (w *world) onlyUpload() string {
	w.t.Helper()
	list, err := os.ReadDir(filepath.Join(w.dir, "uploads"))
	must(w.t, err)
	if len(list) != 1 {
		w.t.Fatalf("%d uploads on the disk, want 1", len(list))
	}
	return filepath.Join(w.dir, "uploads", list[0].Name())
}
