package client_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
)

// fakeAssets are what providers keep, strictly: under their hash, and in order.
type fakeAssets struct {
	all map[string]*fakeAsset // by hash; those of all providers
	// cut, if positive, is after how many octets the next upload breaks off.
	cut int
}

type fakeAsset struct {
	domain string
	size   int64
	data   []byte
}

func (a *fakeAsset) complete() bool { return int64(len(a.data)) == a.size }

// keep has a fake keep assets.
func (f *fake) keep(mux *http.ServeMux) {
	f.assets = &fakeAssets{all: map[string]*fakeAsset{}}
	show := func(hash string, a *fakeAsset) *clientapi.Asset {
		out := &clientapi.Asset{Hash: hash, Size: a.size, Offset: int64(len(a.data)), Complete: a.complete()}
		if out.Complete {
			h, _ := hex.DecodeString(hash)
			out.URL = asset.Location{Domain: a.domain, Hash: asset.Hash(h)}.URL()
		}
		return out
	}
	mux.HandleFunc("POST /v1/assets", f.wrap("POST /v1/assets", func(r *http.Request, u *fakeUser) (any, error) {
		n, err := body[clientapi.NewAsset](r)
		if err != nil {
			return nil, err
		}
		a := f.assets.all[n.Hash]
		if a == nil {
			a = &fakeAsset{domain: u.domain(), size: n.Size}
			f.assets.all[n.Hash] = a
		}
		if a.size != n.Size {
			f.t.Errorf("%s has %d octets and then %d", n.Hash, a.size, n.Size)
		}
		return show(n.Hash, a), nil
	}))
	mux.HandleFunc("PATCH /v1/assets/{hash}", f.wrap("PATCH /v1/assets/{hash}", func(r *http.Request, u *fakeUser) (any, error) {
		a := f.assets.all[r.PathValue("hash")]
		at, err := strconv.ParseInt(r.Header.Get(clientapi.HeaderUploadOffset), 10, 64)
		if a == nil || err != nil || r.Header.Get("Content-Type") != clientapi.TypeUpload {
			return nil, refused(404, clientapi.CodeNotFound, "no such upload")
		}
		if at != int64(len(a.data)) {
			return nil, refused(409, clientapi.CodeOffset, "it goes on at %d", len(a.data))
		}
		b, _ := io.ReadAll(r.Body)
		if cut := f.assets.cut; cut > 0 && cut < len(b) {
			f.assets.cut = 0
			a.data = append(a.data, b[:cut]...)
			return nil, refused(503, clientapi.CodeUnavailable, "broken off")
		}
		a.data = append(a.data, b...)
		if h := sha256.Sum256(a.data); a.complete() && hex.EncodeToString(h[:]) != r.PathValue("hash") {
			f.t.Errorf("what came under %s has another hash", r.PathValue("hash"))
			a.data = nil
			return nil, refused(422, clientapi.CodeDamaged, "another hash")
		}
		return show(r.PathValue("hash"), a), nil
	}))
	mux.HandleFunc("GET /v1/download", func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		var data []byte
		f.wrap("GET /v1/download", func(r *http.Request, _ *fakeUser) (any, error) {
			l, err := asset.ParseURL(r.URL.Query().Get("url"))
			a := f.assets.all[l.Hash.String()]
			if err != nil || a == nil || !a.complete() || a.domain != l.Domain {
				return nil, refused(404, clientapi.CodeNotFound, "no such asset")
			}
			data = a.data
			return nil, nil
		})(rec, r)
		if data == nil {
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes())
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Write(data)
	})
}

func (u *fakeUser) domain() string {
	return strings.Split(strings.TrimPrefix(u.uri, "mimi://"), "/")[0]
}

var errSpool = errors.New("test: the file failed")

// spool is a Spool that loses what was not synced when the process ends, fails at one of its
// operations, before or after the deed, and does not let octets be written anew as others,
// which would be another plaintext under the same key.
type spool struct {
	t  *testing.T
	mu sync.Mutex
	// files is what is there, synced what will be after a crash.
	files, synced map[string][]byte
	ops, failAt   int
	happened      bool
}

func newSpool(t *testing.T) *spool {
	return &spool{t: t, files: map[string][]byte{}, synced: map[string][]byte{}}
}

func (s *spool) reopened() *spool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := newSpool(s.t)
	for k, v := range s.synced {
		n.files[k], n.synced[k] = bytes.Clone(v), bytes.Clone(v)
	}
	return n
}

// do does something, or fails.
func (s *spool) do(deed func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	fails := s.ops == s.failAt
	if fails && !s.happened {
		return errSpool
	}
	err := deed()
	if fails {
		return errSpool
	}
	return err
}

func (s *spool) Open(name string) (client.SpoolFile, error) {
	err := s.do(func() error {
		if s.files[name] == nil {
			s.files[name] = []byte{}
		}
		return nil
	})
	return &spoolFile{s, name}, err
}

func (s *spool) Remove(name string) error {
	return s.do(func() error {
		delete(s.files, name)
		delete(s.synced, name)
		return nil
	})
}

func (s *spool) Names() (out []string, err error) {
	err = s.do(func() error { out = slices.Sorted(maps.Keys(s.files)); return nil })
	return out, err
}

// left are the files of what goes out.
func (s *spool) left() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.files)), func(n string) bool { return !strings.HasPrefix(n, "up-") })
}

type spoolFile struct {
	s    *spool
	name string
}

func (f *spoolFile) ReadAt(b []byte, at int64) (n int, err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return bytes.NewReader(f.s.files[f.name]).ReadAt(b, at)
}

func (f *spoolFile) WriteAt(b []byte, at int64) (int, error) {
	return len(b), f.s.do(func() error {
		was := f.s.files[f.name]
		if over := was[min(at, int64(len(was))):]; strings.HasPrefix(f.name, "up-") && len(over) > 0 && !bytes.HasPrefix(over, b) {
			f.s.t.Errorf("%s is written anew at %d", f.name, at)
		}
		for int64(len(was)) < at+int64(len(b)) {
			was = append(was, 0)
		}
		copy(was[at:], b)
		f.s.files[f.name] = was
		return nil
	})
}

func (f *spoolFile) Size() (n int64, err error) {
	err = f.s.do(func() error { n = int64(len(f.s.files[f.name])); return nil })
	return n, err
}

func (f *spoolFile) Truncate(size int64) error {
	return f.s.do(func() error { f.s.files[f.name] = f.s.files[f.name][:size]; return nil })
}

func (f *spoolFile) Sync() error {
	return f.s.do(func() error { f.s.synced[f.name] = bytes.Clone(f.s.files[f.name]); return nil })
}

func (f *spoolFile) Close() error { return f.s.do(func() error { return nil }) }
