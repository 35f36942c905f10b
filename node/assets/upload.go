package assets

import (
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// bufferSize is what of an upload is in memory.
const bufferSize = 256 << 10

// enter keeps others from an upload until leave. Error: a Problem with CodeTooMany.
func (s *Store) enter(name upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	refuse := func(format string, args ...any) error {
		p := problem(http.StatusTooManyRequests, clientapi.CodeTooMany, format, args...)
		p.Retry = 1000
		return p
	}
	switch l := s.cfg.Limits.Writers; {
	case s.busy[name]:
		return refuse("another request works at this asset: try again when it is through")
	case s.writers[""] >= l:
		return refuse("%d uploads are under way at this provider, which is the limit: try again soon", s.writers[""])
	case s.writers[name.user] >= max(1, l/4):
		return refuse("%d uploads of yours are under way, which is the limit: wait for one to end", s.writers[name.user])
	}
	s.busy[name] = true
	s.writers[""]++
	s.writers[name.user]++
	return nil
}

func (s *Store) leave(name upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, name)
	s.writers[""]--
	if s.writers[name.user]--; s.writers[name.user] == 0 {
		delete(s.writers, name.user)
	}
}

// Append takes the next octets of an upload, from an offset on, until body ends, and
// returns how far the upload is then. If body breaks off, what came is kept all the same.
func (s *Store) Append(ctx context.Context, who account.Identity, hash string, offset int64, body io.Reader) (*clientapi.Asset, error) {
	h, err := parseHash(hash)
	if err != nil {
		return nil, err
	}
	name := upload{who.User.String(), h}
	if err := s.enter(name); err != nil {
		return nil, err
	}
	defer s.leave(name)
	r, err := s.find(name.user, h)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, notHere()
	case r.complete:
		return s.show(r), nil
	}
	// Whoever is gone in the meantime still wants to find later what has come.
	ctx = context.WithoutCancel(ctx)
	w, err := s.resume(ctx, r)
	if err != nil {
		return nil, asProblem(err)
	}
	if w == nil { // it is complete, and only its record was missing
		return s.show(r), nil
	}
	defer w.file.Close()
	if offset != w.rec.offset {
		return nil, problem(http.StatusConflict, clientapi.CodeOffset, "the upload goes on at %d, and not at %d", w.rec.offset, offset)
	}
	if err := w.take(ctx, body); err != nil {
		return nil, asProblem(err)
	}
	if w.rec.offset == w.rec.size {
		if err := w.finish(ctx); err != nil {
			return nil, asProblem(err)
		}
	}
	return s.show(w.rec), nil
}

// asProblem says in a client's terms what a full disk means.
func asProblem(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "the provider's disk is full: try again later"), err)
	}
	return err
}

// writer is an upload that a request works at.
type writer struct {
	s    *Store
	rec  *record // as it is in the database
	file *os.File
	sum  hash.Hash
	at   int64 // of the file, beyond rec.offset what is not durable
}

// resume opens the file of an upload where its record says. It is nil if the asset is
// complete: if a crash came between its name and its record.
func (s *Store) resume(ctx context.Context, r *record) (*writer, error) {
	w := &writer{s: s, rec: r, sum: sha256.New()}
	path := s.uploadPath(r.file)
	f, err := os.OpenFile(path, os.O_RDWR, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		if done, err := w.adopt(ctx); done || err != nil {
			return nil, err
		}
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode); err == nil {
			err = syncDir(filepath.Dir(path))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening an upload: %w", err)
	}
	w.file = f
	if err := w.rewind(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("going on with an upload: %w", err), f.Close())
	}
	return w, nil
}

// rewind cuts the file, and sets the hash, to where the record says. What the record
// says and the file does not have, as after a restore, has to come again.
func (w *writer) rewind(ctx context.Context) error {
	info, err := w.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < w.rec.offset {
		if err := w.set(ctx, 0, nil); err != nil {
			return err
		}
	}
	if err := w.file.Truncate(w.rec.offset); err != nil {
		return err
	}
	w.at = w.rec.offset
	if w.at == 0 {
		return nil
	}
	if w.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(w.rec.hashing) == nil {
		_, err = w.file.Seek(w.at, io.SeekStart)
		return err
	}
	w.sum = sha256.New()
	_, err = io.Copy(w.sum, w.file) // to its end, which is where to write
	return err
}

// set writes how far the upload is.
func (w *writer) set(ctx context.Context, offset int64, hashing []byte) error {
	next := *w.rec
	next.offset, next.hashing, next.changed = offset, hashing, w.s.cfg.Now()
	if err := w.put(ctx, &next); err != nil {
		return err
	}
	w.rec = &next
	return nil
}

func (w *writer) put(ctx context.Context, next *record) error {
	return w.s.cfg.Database.Update(ctx, func(tx *store.Tx) error {
		old, err := get(tx, next.user, next.hash)
		if err != nil {
			return err
		}
		if old == nil {
			return notHere() // swept away
		}
		return put(tx, old, next)
	})
}

// take writes what comes, and makes it durable now and then. An error of body is
// returned when what came before is durable.
func (w *writer) take(ctx context.Context, body io.Reader) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := io.ReadFull(body, buf[:min(int64(len(buf)), w.rec.size-w.at+1)])
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if int64(n) > w.rec.size-w.at {
			// Whatever this is, it is not the asset. What came before may be.
			return errors.Join(problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "more octets than the %d that were announced", w.rec.size), w.checkpoint(ctx))
		}
		if n > 0 {
			if _, err := w.file.Write(buf[:n]); err != nil {
				return fmt.Errorf("writing an upload: %w", err)
			}
			w.sum.Write(buf[:n])
			w.at += int64(n)
		}
		if err != nil || w.at-w.rec.offset >= w.s.cfg.Limits.Checkpoint {
			if err := w.checkpoint(ctx); err != nil {
				return err
			}
		}
		switch {
		case last, w.at == w.rec.size && err != nil:
			return nil
		case err != nil:
			return &broken{w.rec.offset, err}
		}
	}
}

// broken says that the request's body ended before its time.
type broken struct {
	kept int64
	err  error
}

func (b *broken) Error() string { return fmt.Sprintf("an upload broke off at %d: %v", b.kept, b.err) }

func (b *broken) Unwrap() []error {
	p := problem(http.StatusRequestTimeout, clientapi.CodeUnreachable, "the body broke off or stood still; the upload goes on at %d", b.kept)
	return []error{p, b.err}
}

// checkpoint makes what came durable: first the file, then the record.
func (w *writer) checkpoint(ctx context.Context) error {
	if w.at == w.rec.offset {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("syncing an upload: %w", err)
	}
	if w.at == w.rec.size {
		// The record of a whole upload is written when its hash has been compared. If
		// a crash comes before, the octets since the last one come again.
		w.rec.offset = w.at
		return nil
	}
	state, err := w.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil || len(state) > maxHashing {
		return fmt.Errorf("keeping the state of a hash (%d octets): %w", len(state), err)
	}
	return w.set(ctx, w.at, state)
}

// finish makes an asset of a whole upload.
func (w *writer) finish(ctx context.Context) error {
	if asset.Hash(w.sum.Sum(nil)) != w.rec.hash {
		return errors.Join(problem(http.StatusUnprocessableEntity, clientapi.CodeDamaged,
			"the %d octets that came have not the hash that was announced; they are gone: begin again", w.rec.size),
			w.s.delete(ctx, upload{w.rec.user, w.rec.hash}, nil))
	}
	w.s.files.Lock()
	defer w.s.files.Unlock()
	if err := w.s.settle(w.rec); err != nil {
		return err
	}
	return w.complete(ctx)
}

// complete writes the record of an asset whose file is in its place. files is locked.
func (w *writer) complete(ctx context.Context) error {
	next := *w.rec
	next.complete, next.offset, next.changed, next.hashing = true, next.size, w.s.cfg.Now(), nil
	if err := w.put(ctx, &next); err != nil {
		return err
	}
	*w.rec = next
	w.s.cfg.Log.Debug("an asset is complete", "octets", next.size, "took", next.changed.Sub(next.begun).Round(time.Millisecond))
	return nil
}

// adopt completes an upload whose file has got its name already. The same octets may also
// be another user's: whoever names their hash and size could have brought them, so that
// nothing is told but that they are here.
func (w *writer) adopt(ctx context.Context) (done bool, err error) {
	path := w.s.assetPath(w.rec.hash)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for an asset: %w", err)
	}
	defer f.Close()
	n, err := io.Copy(w.sum, io.LimitReader(f, w.rec.size+1))
	right := err == nil && n == w.rec.size && asset.Hash(w.sum.Sum(nil)) == w.rec.hash
	w.sum.Reset()
	if err != nil || !right {
		return false, err
	}
	w.s.files.Lock()
	defer w.s.files.Unlock()
	// Nobody changes the file, but it may just have been removed.
	if _, err := os.Stat(path); err != nil {
		return false, nil
	}
	return true, w.complete(ctx)
}
