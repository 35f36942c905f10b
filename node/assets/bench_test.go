package assets_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/mimid/mimid/node/assets"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

const benchSize = 64 << 20

// tlsServer serves a handler on loopback, over TLS and HTTP/1.1.
func tlsServer(b *testing.B, h http.Handler) *httptest.Server {
	s := httptest.NewTLSServer(h)
	b.Cleanup(s.Close)
	return s
}

func exchange(b *testing.B, s *httptest.Server, req *http.Request) {
	res, err := s.Client().Do(req)
	must(b, err)
	n, err := io.Copy(io.Discard, res.Body)
	must(b, err)
	must(b, res.Body.Close())
	if res.StatusCode != 200 {
		b.Fatalf("status %d", res.StatusCode)
	}
	if req.Method == "GET" && n != benchSize {
		b.Fatalf("%d octets came", n)
	}
}

// BenchmarkOverTLS compares what this package does with a plain net/http handler that
// copies a file, on the same machine and in the same run: uploads are on the disk (fsync)
// when they are answered, on both sides.
func BenchmarkOverTLS(b *testing.B) {
	data := random(benchSize)
	dir := b.TempDir()
	plain := tlsServer(b, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		path := filepath.Join(dir, "plain")
		if req.Method == http.MethodGet {
			http.ServeFile(w, req, path)
			return
		}
		f, err := os.Create(path)
		if err == nil {
			_, err = io.Copy(f, req.Body)
		}
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			http.Error(w, err.Error(), 500)
		}
	}))
	st, err := store.Open(store.Options{Dir: filepath.Join(dir, "store")})
	must(b, err)
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(run) }()
	b.Cleanup(func() {
		cancel()
		must(b, errors.Join(<-ended, st.Close(ctx)))
	})
	a, err := assets.Open(assets.Config{Domain: "atlanta.example", Database: st, Dir: filepath.Join(dir, "assets")})
	must(b, err)
	id, hash := who(b, "alice"), hashOf(data)
	ours := tlsServer(b, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet {
			if err := a.Serve(w, req, hash, 1<<40); err != nil {
				http.Error(w, err.Error(), 500)
			}
			return
		}
		offset, _ := strconv.ParseInt(req.Header.Get(clientapi.HeaderUploadOffset), 10, 64)
		if got, err := a.Append(req.Context(), id, hash.String(), offset, req.Body); err != nil || !got.Complete {
			http.Error(w, "not complete", 500)
		}
	}))
	for _, c := range []struct {
		name   string
		server *httptest.Server
	}{{"plain", plain}, {"asset", ours}} {
		b.Run("upload/"+c.name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				if c.server == ours {
					_ = a.Remove(ctx, id, hash.String()) // is not there the first time
					_, err := a.Begin(ctx, id, &clientapi.NewAsset{Hash: hash.String(), Size: benchSize})
					must(b, err)
				}
				req, err := http.NewRequest("PATCH", c.server.URL+"/x", bytes.NewReader(data))
				must(b, err)
				req.Header.Set(clientapi.HeaderUploadOffset, "0")
				exchange(b, c.server, req)
			}
		})
		b.Run("download/"+c.name, func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				req, err := http.NewRequest("GET", c.server.URL+asset.Path, nil)
				must(b, err)
				exchange(b, c.server, req)
			}
		})
	}
}
