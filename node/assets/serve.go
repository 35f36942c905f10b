package assets

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
)

// Serve answers a GET or HEAD with an asset that is kept here, whole or a range of it, if
// it has at most so many octets. An error came before anything was written; it is a Problem
// if there is no such asset.
func (s *Store) Serve(w http.ResponseWriter, req *http.Request, h asset.Hash, most int64) error {
	f, err := s.open(h)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return fmt.Errorf("serving an asset: %w", err)
	} else if info.Size() > most {
		return problem(http.StatusForbidden, clientapi.CodeForbidden, "the asset has %d octets; in this room it has at most %d", info.Size(), most)
	}
	setHeaders(w.Header())
	w.Header().Set("ETag", `"`+h.String()+`"`)
	// It may be told to go on, but not in another encoding or for another version.
	http.ServeContent(&steady{ResponseWriter: w}, req, "", time.Time{}, f)
	return nil
}

// setHeaders are those of every asset: no browser is to make anything of it.
func setHeaders(h http.Header) {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
}

// stall is how long the other side of a download may take nothing, or bring nothing.
const stall = 30 * time.Second

// steady is a writer of an answer whose other side has stall for each piece, and as many
// pieces as there are. The server's own bounds are for whole answers.
type steady struct{ http.ResponseWriter }

func (s *steady) Write(b []byte) (int, error) {
	// A writer without deadlines, in tests, has none.
	_ = http.NewResponseController(s.ResponseWriter).SetWriteDeadline(time.Now().Add(stall))
	return s.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom, for larger pieces than io.Copy has.
func (s *steady) ReadFrom(r io.Reader) (n int64, err error) {
	buf := make([]byte, bufferSize)
	for {
		m, rerr := r.Read(buf)
		if m > 0 {
			k, err := s.Write(buf[:m])
			n += int64(k)
			if err != nil {
				return n, err
			}
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return n, nil
		case rerr != nil:
			return n, rerr
		}
	}
}

// Unwrap lets http.ResponseController through.
func (s *steady) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Handler serves assets to other providers, below asset.Path, and hands everything else
// to next. peer names who asks.
func (s *Store) Handler(peer func(*http.Request) (string, bool), budget *Budget, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		name, ok := strings.CutPrefix(req.URL.Path, asset.Path)
		if !ok {
			next.ServeHTTP(w, req)
			return
		}
		// No deadline of the server's may strike during a long answer.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		if err := s.serve(w, req, name, peerOf(req, peer), budget); err != nil {
			var p *clientapi.Problem
			if !errors.As(err, &p) {
				s.cfg.Log.Error("serving an asset", "error", err)
				p = problem(http.StatusInternalServerError, clientapi.CodeInternal, "an internal error of %s", s.cfg.Domain)
			}
			writeProblem(w, p)
		}
	})
}

func peerOf(req *http.Request, peer func(*http.Request) (string, bool)) string {
	if id, ok := peer(req); ok {
		return "peer " + id
	}
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		host = req.RemoteAddr
	}
	return "address " + host
}

func (s *Store) serve(w http.ResponseWriter, req *http.Request, name, who string, budget *Budget) error {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return problem(http.StatusMethodNotAllowed, clientapi.CodeInvalid, "an asset is read with GET, not %.20q", req.Method)
	}
	h, err := asset.ParseHash(name)
	if err != nil || req.URL.RawQuery != "" {
		return problem(http.StatusNotFound, clientapi.CodeNotFound, "an asset's path is %sHASH", asset.Path)
	}
	leave, p := budget.enter(who, s.cfg.Now())
	if p != nil {
		return p
	}
	defer leave()
	return s.Serve(w, req, h, math.MaxInt64)
}

func writeProblem(w http.ResponseWriter, p *clientapi.Problem) {
	b, err := json.Marshal(p)
	if err != nil { // texts and numbers cannot fail
		panic("assets: encoding a problem: " + err.Error())
	}
	h := w.Header()
	for _, name := range []string{"ETag", "Content-Disposition", "Cache-Control", "Content-Length", "Content-Range"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.Retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64(math.Ceil(float64(p.Retry)/1000)), 10))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(b) // the peer may have gone
}
