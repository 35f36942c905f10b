package assets_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
)

func TestUploadInParts(t *testing.T) {
	w := newWorld(t)
	b := random(700_001)
	for _, part := range []int{1 << 20, 256 << 10, 100_003, 33_333} {
		w := newWorld(t)
		a, err := w.bring("alice", b, part)
		must(t, err)
		want := asset.Location{Domain: "atlanta.example", Hash: hashOf(b)}.URL()
		if a.URL != want || !a.Complete || a.Offset != int64(len(b)) || a.Size != int64(len(b)) {
			t.Errorf("in parts of %d: %+v", part, a)
		}
		w.wantFiles(hashOf(b))
		w.wantUsed("alice", int64(len(b)), 1)
		if got := w.get(hashOf(b)).Body.Bytes(); !bytes.Equal(got, b) {
			t.Errorf("in parts of %d: another asset comes back, of %d octets", part, len(got))
		}
	}
	_, err := w.bring("alice", []byte{1}, 1)
	must(t, err)
}

// RFC 9110 section 14.
func TestRanges(t *testing.T) {
	w := newWorld(t)
	b := []byte("0123456789")
	_, err := w.bring("alice", b, 10)
	must(t, err)
	h := hashOf(b)
	for _, c := range []struct {
		rng    string
		status int
		body   string
		where  string
	}{
		{"", 200, "0123456789", ""},
		{"bytes=0-", 206, "0123456789", "bytes 0-9/10"},
		{"bytes=0-0", 206, "0", "bytes 0-0/10"},
		{"bytes=9-", 206, "9", "bytes 9-9/10"},
		{"bytes=3-5", 206, "345", "bytes 3-5/10"},
		{"bytes=3-999", 206, "3456789", "bytes 3-9/10"},
		{"bytes=-3", 206, "789", "bytes 7-9/10"},
		{"bytes=-999", 206, "0123456789", "bytes 0-9/10"},
		{"bytes=10-", 416, "", "bytes */10"},
		{"bytes=99-100", 416, "", "bytes */10"},
		{"bytes=5-3", 416, "", ""},
		{"octets=0-3", 416, "", ""},
		{"bytes=99999999999999999999-", 416, "", ""},
	} {
		res := w.get(h, "Range", c.rng)
		if res.Code != c.status || c.body != "" && res.Body.String() != c.body || res.Header().Get("Content-Range") != c.where {
			t.Errorf("%q: %d %q %q, want %d %q %q", c.rng, res.Code, res.Header().Get("Content-Range"), res.Body, c.status, c.where, c.body)
		}
	}
	res := w.get(h)
	for name, want := range map[string]string{"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff",
		"Content-Disposition": "attachment", "ETag": `"` + h.String() + `"`, "Accept-Ranges": "bytes"} {
		if got := res.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := w.get(h, "If-None-Match", `"`+h.String()+`"`).Code; got != http.StatusNotModified {
		t.Errorf("If-None-Match: %d", got)
	}
	for _, path := range []string{"", "x", h.String() + "/", h.String()[1:], strings.ToUpper(h.String()), "0" + h.String(), h.String() + "?x", assets.Name(h)} {
		if res := w.serve(http.MethodGet, asset.Path+path); res.Code != 404 {
			t.Errorf("%q: %d", path, res.Code)
		}
	}
	if res := w.serve(http.MethodPost, asset.Path+h.String()); res.Code != 405 || res.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", res.Code)
	}
	if res := w.serve(http.MethodHead, asset.Path+h.String()); res.Code != 200 || res.Header().Get("Content-Length") != "10" || res.Body.Len() > 0 {
		t.Errorf("HEAD: %d, %d octets", res.Code, res.Body.Len())
	}
	if res := w.serve(http.MethodPost, "/v1/update/x"); res.Code != http.StatusTeapot {
		t.Errorf("what is no asset goes elsewhere, and not to %d", res.Code)
	}
}

// A peer has its share, and no more.
func TestBudget(t *testing.T) {
	w := newWorld(t)
	_, err := w.bring("alice", []byte("x"), 1)
	must(t, err)
	h := w.Handler(func(r *http.Request) (string, bool) { return r.Header.Get("Peer"), true },
		assets.NewBudget(assets.BudgetConfig{Requests: ration.Config{PerSecond: 1, Burst: 3}}), nil)
	get := func(peer string) *httptest.ResponseRecorder {
		req, rec := httptest.NewRequest("GET", asset.Path+hashOf([]byte("x")).String(), nil), httptest.NewRecorder()
		req.Header.Set("Peer", peer)
		h.ServeHTTP(rec, req)
		return rec
	}
	for range 3 {
		if res := get("biloxi"); res.Code != 200 {
			t.Fatalf("within the budget: %d", res.Code)
		}
	}
	if res := get("biloxi"); res.Code != 429 || res.Header().Get("Retry-After") != "1" {
		t.Errorf("beyond the budget: %d, Retry-After %q", res.Code, res.Header().Get("Retry-After"))
	}
	if res := get("chicago"); res.Code != 200 {
		t.Errorf("another peer pays for it: %d", res.Code)
	}
}

// Whatever fails in the database, and whether it has happened nevertheless: the next
// process goes on, the asset is whole in the end, is counted once, and nothing else lies
// around.
func TestCrashAtEveryUpdate(t *testing.T) {
	b := random(100_000)
	small := func(c *assets.Config) { c.Limits.Checkpoint = 20_000 }
	for _, happened := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t, small)
			w.db.failAt, w.db.happened = n, happened
			_, err := w.bring("alice", b, 40_000)
			if err == nil {
				if n < 5 {
					t.Fatalf("only %d updates: this tests nothing", n-1)
				}
				break
			}
			w.reopen()
			a, err := w.bring("alice", b, 40_000)
			if err != nil || !a.Complete {
				t.Fatalf("update %d fails, having happened %t: %v", n, happened, err)
			}
			if got := w.get(hashOf(b)).Body.Bytes(); !bytes.Equal(got, b) {
				t.Errorf("update %d fails: another asset comes back", n)
			}
			if _, err := w.Sweep(ctx); err != nil {
				t.Error(err)
			}
			w.wantFiles(hashOf(b))
			w.wantUsed("alice", int64(len(b)), 1)
		}
	}
}

// What is on the disk after a crash or a power cut, and what becomes of it.
func TestUploadGoesOn(t *testing.T) {
	b := random(100_000)
	h := hashOf(b).String()
	for _, c := range []struct {
		name    string
		spoil   func(t *testing.T, path string)
		offset  int64
		damaged bool
	}{
		{"nothing happened", func(*testing.T, string) {}, 60_000, false},
		{"more was written than was acknowledged", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
			_, err = f.Write(random(50_000)) // beyond the end of the asset
			must(t, err)
			must(t, f.Close())
		}, 60_000, false},
		{"the file is shorter than the record", func(t *testing.T, path string) { must(t, os.Truncate(path, 100)) }, 0, false},
		{"the file is missing, as after a restore", func(t *testing.T, path string) { must(t, os.Remove(path)) }, 0, false},
		{"the disk has lost an octet", func(t *testing.T, path string) {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt([]byte{b[50_000] ^ 1}, 50_000)
			must(t, err)
			must(t, f.Close())
		}, 60_000, false}, // the hash of what came is right; verify finds the file
	} {
		w := newWorld(t)
		id := who(t, "alice")
		_, err := w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: int64(len(b))})
		must(t, err)
		_, err = w.Append(ctx, id, h, 0, breaking(b[:60_000]))
		p := wantProblem(t, err, http.StatusRequestTimeout, clientapi.CodeUnreachable)
		if !strings.Contains(p.Detail, "60000") {
			t.Errorf("%s: %s", c.name, p.Detail)
		}
		c.spoil(t, w.onlyUpload())
		w.reopen()
		_, err = w.Append(ctx, id, h, 12345, bytes.NewReader(b[12345:]))
		p = wantProblem(t, err, http.StatusConflict, clientapi.CodeOffset)
		if !strings.Contains(p.Detail, fmt.Sprint(c.offset)) {
			t.Errorf("%s: %s", c.name, p.Detail)
		}
		a, err := w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: int64(len(b))})
		if err != nil || a.Offset != c.offset {
			t.Fatalf("%s: %+v, %v, want offset %d", c.name, a, err, c.offset)
		}
		a, err = w.Append(ctx, id, h, a.Offset, bytes.NewReader(b[a.Offset:]))
		if err != nil || !a.Complete {
			t.Fatalf("%s: %+v, %v", c.name, a, err)
		}
		w.wantUsed("alice", int64(len(b)), 1)
		if info, err := os.Stat(filepath.Join(w.dir, assets.Name(hashOf(b)))); err != nil || info.Size() != int64(len(b)) {
			t.Errorf("%s: the file is not as long as the asset (%v)", c.name, err)
		}
	}
}

func TestWrongUploads(t *testing.T) {
	w := newWorld(t, func(c *assets.Config) { c.Limits.Size = 1000 })
	id := who(t, "alice")
	b := random(500)
	h := hashOf(b).String()
	_, err := w.Append(ctx, id, h, 0, bytes.NewReader(b))
	wantProblem(t, err, 404, clientapi.CodeNotFound)
	_, err = w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: 1001})
	wantProblem(t, err, 413, clientapi.CodeTooLarge)
	for _, n := range []clientapi.NewAsset{{Hash: h, Size: 0}, {Hash: h, Size: -1}, {Hash: h[1:], Size: 1}, {Hash: strings.ToUpper(h), Size: 1}, {Hash: "../" + h[3:], Size: 1}} {
		_, err = w.Begin(ctx, id, &n)
		wantProblem(t, err, 422, clientapi.CodeInvalid)
	}
	_, err = w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: 500})
	must(t, err)
	_, err = w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: 501})
	wantProblem(t, err, 409, clientapi.CodeInvalid)
	// Too much: what came before counts, and the rest can still come.
	_, err = w.Append(ctx, id, h, 0, bytes.NewReader(append(bytes.Clone(b[:499]), 1, 2)))
	wantProblem(t, err, 413, clientapi.CodeTooLarge)
	_, err = w.Append(ctx, id, h, 0, bytes.NewReader(b))
	must(t, err)
	// Other octets than announced: all is gone, and can begin again.
	other := random(500)
	oh := hashOf(other).String()
	_, err = w.Begin(ctx, id, &clientapi.NewAsset{Hash: oh, Size: 500})
	must(t, err)
	_, err = w.Append(ctx, id, oh, 0, bytes.NewReader(b))
	wantProblem(t, err, 422, clientapi.CodeDamaged)
	w.wantFiles(hashOf(b))
	w.wantUsed("alice", 500, 1)
	if res := w.get(hashOf(other)); res.Code != 404 {
		t.Errorf("what has another hash is served: %d", res.Code)
	}
	_, err = w.bring("alice", other, 100)
	must(t, err)
	// Nobody sees or deletes another's.
	_, err = w.Asset(ctx, who(t, "bob"), h)
	wantProblem(t, err, 404, clientapi.CodeNotFound)
	wantProblem(t, w.Remove(ctx, who(t, "bob"), h), 404, clientapi.CodeNotFound)
	// An upload that is not complete is not served.
	half := random(400)
	_, err = w.Begin(ctx, id, &clientapi.NewAsset{Hash: hashOf(half).String(), Size: 400})
	must(t, err)
	_, err = w.Append(ctx, id, hashOf(half).String(), 0, bytes.NewReader(half[:399]))
	must(t, err)
	if res := w.get(hashOf(half)); res.Code != 404 {
		t.Errorf("an upload that is not complete is served: %d", res.Code)
	}
}

func TestQuota(t *testing.T) {
	w := newWorld(t, func(c *assets.Config) {
		c.Limits = assets.Limits{User: 1000, Total: 1500, Uploads: 3, Assets: 4}
	})
	begin := func(user string, size int64) error {
		_, err := w.Begin(ctx, who(t, user), &clientapi.NewAsset{Hash: hashOf(random(8)).String(), Size: size})
		return err
	}
	kept := random(600)
	_, err := w.bring("alice", kept, 600)
	must(t, err)
	p := wantProblem(t, begin("alice", 401), 507, clientapi.CodeQuota)
	if !strings.Contains(p.Detail, "600") || !strings.Contains(p.Detail, "1000") {
		t.Errorf("the refusal says %q, not what is kept and what may be", p.Detail)
	}
	must(t, begin("alice", 400)) // what is announced counts at once
	wantProblem(t, begin("alice", 1), 507, clientapi.CodeQuota)
	must(t, begin("bob", 500))
	p = wantProblem(t, begin("carol", 1), 507, clientapi.CodeQuota)
	if !strings.Contains(p.Detail, "operator") {
		t.Errorf("the refusal says %q, not who can do something about it", p.Detail)
	}
	must(t, w.Remove(ctx, who(t, "alice"), hashOf(kept).String()))
	w.wantUsed("alice", 400, 1)
	must(t, begin("carol", 1))
	must(t, begin("carol", 2))
	must(t, begin("carol", 3))
	p = wantProblem(t, begin("carol", 4), 507, clientapi.CodeQuota)
	if !strings.Contains(p.Detail, "unfinished") {
		t.Errorf("the refusal says %q", p.Detail)
	}
	for i := range 4 {
		_, err := w.bring("dave", random(10+i), 100)
		must(t, err)
	}
	wantProblem(t, begin("dave", 1), 507, clientapi.CodeQuota)
}

// Many at once get no more than fits.
func TestQuotaRace(t *testing.T) {
	w := newWorld(t, func(c *assets.Config) { c.Limits = assets.Limits{User: 1000, Total: 1 << 40, Uploads: 1000} })
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := w.Begin(ctx, who(t, "alice"), &clientapi.NewAsset{Hash: hashOf(random(8)).String(), Size: 100})
			if err == nil {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	if ok.Load() != 10 {
		t.Errorf("%d uploads of 100 octets fit into 1000", ok.Load())
	}
	w.wantUsed("alice", 1000, 10)
}

// One request at a time works at an upload.
func TestTwoRequestsAtOneUpload(t *testing.T) {
	w := newWorld(t)
	b := random(1000)
	h := hashOf(b).String()
	id := who(t, "alice")
	_, err := w.Begin(ctx, id, &clientapi.NewAsset{Hash: h, Size: 1000})
	must(t, err)
	reading, goOn := make(chan bool), make(chan bool)
	first := true
	body := readerFunc(func(p []byte) (int, error) {
		if first {
			first = false
			close(reading)
			<-goOn
			return copy(p, b), nil
		}
		return 0, errPlanted
	})
	done := make(chan error, 1)
	go func() { _, err := w.Append(ctx, id, h, 0, body); done <- err }()
	<-reading
	_, err = w.Append(ctx, id, h, 0, bytes.NewReader(b))
	if p := wantProblem(t, err, 429, clientapi.CodeTooMany); p.Retry <= 0 {
		t.Error("the refusal does not say when to come again")
	}
	wantProblem(t, w.Remove(ctx, id, h), 429, clientapi.CodeTooMany)
	close(goOn)
	// Everything is there, so that it does not matter how the body ended.
	must(t, <-done)
	must(t, w.Remove(ctx, id, h))
	w.wantFiles()
	w.wantUsed("alice", 0, 0)
}

// The same octets of two users are one file, which stays as long as one of them keeps it.
func TestTwoOwners(t *testing.T) {
	w := newWorld(t)
	b := random(5000)
	for _, user := range []string{"alice", "bob"} {
		_, err := w.bring(user, b, 2000)
		must(t, err)
	}
	w.wantFiles(hashOf(b))
	w.wantUsed("bob", 5000, 1)
	must(t, w.Remove(ctx, who(t, "alice"), hashOf(b).String()))
	if got := w.get(hashOf(b)); got.Code != 200 || !bytes.Equal(got.Body.Bytes(), b) {
		t.Errorf("one owner deletes, and the other's is gone: %d", got.Code)
	}
	must(t, w.Remove(ctx, who(t, "bob"), hashOf(b).String()))
	if got := w.get(hashOf(b)); got.Code != 404 {
		t.Errorf("nobody keeps it, and it is served: %d", got.Code)
	}
	w.wantFiles()
}

func TestSweep(t *testing.T) {
	w := newWorld(t, func(c *assets.Config) { c.Limits = assets.Limits{Keep: 10 * time.Hour, Abandoned: 3 * time.Hour} })
	id := who(t, "alice")
	old, young, half := random(100), random(101), random(102)
	a, err := w.bring("alice", old, 1000)
	must(t, err)
	if want := w.now.Add(10 * time.Hour).UnixMilli(); a.Expires != want {
		t.Errorf("expires at %d, want %d", a.Expires, want)
	}
	sweep := func(want int) {
		t.Helper()
		n, err := w.Sweep(ctx)
		must(t, err)
		if n != want {
			t.Errorf("%d were removed, want %d", n, want)
		}
	}
	w.now = w.now.Add(5 * time.Hour)
	_, err = w.bring("alice", young, 1000)
	must(t, err)
	_, err = w.Begin(ctx, id, &clientapi.NewAsset{Hash: hashOf(half).String(), Size: 102})
	must(t, err)
	_, err = w.Append(ctx, id, hashOf(half).String(), 0, bytes.NewReader(half[:50]))
	must(t, err)
	w.now = w.now.Add(2 * time.Hour)
	_, err = w.Append(ctx, id, hashOf(half).String(), 50, bytes.NewReader(half[50:60]))
	must(t, err)
	w.now = w.now.Add(2 * time.Hour)
	sweep(0) // something came two hours ago
	w.now = w.now.Add(time.Hour)
	sweep(2) // the old one has expired, and nothing came for three hours
	w.wantFiles(hashOf(young))
	w.wantUsed("alice", 101, 1)

	// Files of nobody's, as crashes leave them, and what else lies there.
	stray := hashOf([]byte("stray"))
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(w.dir, assets.Name(stray))), 0o700))
	must(t, os.WriteFile(filepath.Join(w.dir, assets.Name(stray)), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(w.dir, "uploads", strings.Repeat("0", 32)), []byte("x"), 0o600))
	if res := w.get(stray); res.Code != 404 {
		t.Errorf("a file of nobody's is served: %d", res.Code)
	}
	sweep(2)
	w.wantFiles(hashOf(young))
}
