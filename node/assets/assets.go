package assets

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// Database is what a Store needs of a *store.Store, which is one.
type Database interface {
	Update(ctx context.Context, fn func(tx *store.Tx) error) error
	View(fn func(tx *store.Tx) error) error
}

// Limits bounds what is kept. A zero field means its default.
type Limits struct {
	// Size is the largest asset, in octets. Default 100 MiB and a tag.
	Size int64
	// User is how many octets one user may keep, uploads included. Default 1 GiB.
	User int64
	// Total is how many octets all users may keep. Default 10 GiB.
	Total int64
	// Uploads is how many unfinished uploads one user may have, Assets how many assets.
	// Default 16 and 10,000.
	Uploads, Assets int
	// Keep is how long an asset is kept, 0 for ever. No default.
	Keep time.Duration
	// Abandoned is after which time without a new octet an upload is given up. Default
	// 24 hours.
	Abandoned time.Duration
	// Writers is how many uploads come in at one time, of all users. Default 64. One
	// user may have a quarter of them.
	Writers int
	// Checkpoint is after how many octets of an upload its progress gets durable, if the
	// request goes on. Default 16 MiB.
	Checkpoint int64
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Size, 100<<20+asset.TagSize)
	setDefault(&l.User, 1<<30)
	setDefault(&l.Total, 10<<30)
	setDefault(&l.Uploads, 16)
	setDefault(&l.Assets, 10_000)
	setDefault(&l.Abandoned, 24*time.Hour)
	setDefault(&l.Writers, 64)
	setDefault(&l.Checkpoint, 16<<20)
	return l
}

func setDefault[T int | int64 | float64 | time.Duration](p *T, d T) {
	if *p <= 0 {
		*p = d
	}
}

// Config configures a Store.
type Config struct {
	// Domain is the own provider's.
	Domain string
	// Database keeps the records. A Store is the only writer of its space for assets.
	Database Database
	// Dir is where the files are. It is made if it is missing; its parent must be there.
	Dir    string
	Limits Limits
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log receives what an operator may want to know. Default: nothing.
	Log *slog.Logger
}

// ErrConfig: a Store or Proxy cannot be made like this.
var ErrConfig = errors.New("assets: unusable configuration")

// Store keeps assets. Safe for concurrent use. Its methods return *clientapi.Problem for
// what a client did wrong, and other errors for what went wrong here.
type Store struct {
	cfg Config

	files sync.Mutex // held while a file gets or loses its name; taken before mu, never after it
	holds int        // guarded by files: backups under way, while which no asset's file is removed

	mu      sync.Mutex
	busy    map[upload]bool // guarded by mu: an upload that a request works at
	writers map[string]int  // guarded by mu: such requests, by user; "" for all
}

// upload names one.
type upload struct {
	user string
	hash asset.Hash
}

// Open opens the directory of assets, or makes it. It starts nothing. Errors: ErrConfig,
// those of the file system.
func Open(cfg Config) (*Store, error) {
	if cfg.Domain == "" || cfg.Database == nil || cfg.Dir == "" {
		return nil, fmt.Errorf("%w: Domain, Database and Dir are required", ErrConfig)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Limits = cfg.Limits.withDefaults()
	for _, dir := range []string{cfg.Dir, filepath.Join(cfg.Dir, uploadsName)} {
		if err := makeDir(dir); err != nil {
			return nil, fmt.Errorf("making directory of assets: %w", err)
		}
	}
	return &Store{cfg: cfg, busy: map[upload]bool{}, writers: map[string]int{}}, nil
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// MiB shows octets for people.
func MiB(n int64) string {
	if n < 10<<20 {
		return fmt.Sprintf("%d octets", n)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

func parseHash(s string) (asset.Hash, error) {
	h, err := asset.ParseHash(s)
	if err != nil {
		return h, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "%.80q is no hash: 64 hexadecimal digits in lower case", s)
	}
	return h, nil
}

// show is a record as its user sees it.
func (s *Store) show(r *record) *clientapi.Asset {
	out := &clientapi.Asset{Hash: r.hash.String(), Size: r.size, Offset: r.offset, Complete: r.complete}
	if at := s.expires(r); !at.IsZero() {
		out.Expires = at.UnixMilli()
	}
	if r.complete {
		out.URL = asset.Location{Domain: s.cfg.Domain, Hash: r.hash}.URL()
	}
	return out
}

// expires is when a record is swept away, zero for never.
func (s *Store) expires(r *record) time.Time {
	switch l := s.cfg.Limits; {
	case !r.complete:
		return r.changed.Add(l.Abandoned)
	case l.Keep > 0:
		return r.changed.Add(l.Keep)
	}
	return time.Time{}
}

func (s *Store) expired(r *record) bool {
	at := s.expires(r)
	return !at.IsZero() && !s.cfg.Now().Before(at)
}

// Begin begins an upload, or tells how far it is.
func (s *Store) Begin(ctx context.Context, who account.Identity, n *clientapi.NewAsset) (*clientapi.Asset, error) {
	h, err := parseHash(n.Hash)
	if err != nil {
		return nil, err
	}
	l := &s.cfg.Limits
	switch {
	case n.Size < 1:
		return nil, problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, "an asset of %d octets: it has one at least", n.Size)
	case n.Size > l.Size:
		return nil, problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "an asset of %s: this provider keeps such of at most %s", MiB(n.Size), MiB(l.Size))
	}
	user := who.User.String()
	// Most of the time it is there; reading needs no writer.
	found, err := s.find(user, h)
	if err != nil {
		return nil, err
	}
	if found == nil {
		var file [16]byte
		rand.Read(file[:])
		err = s.cfg.Database.Update(ctx, func(tx *store.Tx) (err error) {
			if found, err = get(tx, user, h); err != nil || found != nil {
				return err
			}
			if err := s.admit(tx, user, n.Size); err != nil {
				return err
			}
			now := s.cfg.Now()
			found = &record{user: user, hash: h, size: n.Size, begun: now, changed: now, file: file}
			return put(tx, nil, found)
		})
		if err != nil {
			return nil, fmt.Errorf("beginning an upload: %w", err)
		}
	}
	if found.size != n.Size {
		return nil, problem(http.StatusConflict, clientapi.CodeInvalid, "an asset of this hash has %d octets here, and not %d", found.size, n.Size)
	}
	return s.show(found), nil
}

// admit says whether the user may keep so many octets more.
func (s *Store) admit(tx *store.Tx, user string, size int64) error {
	u, err := getUsed(tx, user)
	if err != nil {
		return err
	}
	total, err := getTotal(tx)
	if err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return problem(http.StatusInsufficientStorage, clientapi.CodeQuota, format, args...)
	}
	switch l := &s.cfg.Limits; {
	case int(u.uploads) >= l.Uploads:
		return refuse("you have %d unfinished uploads, which is the limit: finish or delete one", u.uploads)
	case int(u.assets) >= l.Assets:
		return refuse("you keep %d attachments, which is the limit: delete some", u.assets)
	case size > l.User-u.octets:
		return refuse("you keep %s of attachments and may keep %s; %s more is too much: delete some", MiB(u.octets), MiB(l.User), MiB(size))
	case size > l.Total-total:
		return refuse("the provider keeps as much of attachments as its operator allows, %s; nothing has happened: tell the operator", MiB(l.Total))
	}
	return nil
}

// find returns a record, nil if there is none.
func (s *Store) find(user string, h asset.Hash) (r *record, err error) {
	err = s.cfg.Database.View(func(tx *store.Tx) error {
		r, err = get(tx, user, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading about an asset: %w", err)
	}
	return r, nil
}

func notHere() error {
	return problem(http.StatusNotFound, clientapi.CodeNotFound, "you keep no such asset here, and upload none: begin with POST /v1/assets")
}

// Asset tells about one.
func (s *Store) Asset(_ context.Context, who account.Identity, hash string) (*clientapi.Asset, error) {
	h, err := parseHash(hash)
	if err != nil {
		return nil, err
	}
	r, err := s.find(who.User.String(), h)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, notHere()
	}
	return s.show(r), nil
}

// Assets lists what the user keeps.
func (s *Store) Assets(_ context.Context, who account.Identity) (*clientapi.Assets, error) {
	user := who.User.String()
	var out *clientapi.Assets
	err := s.cfg.Database.View(func(tx *store.Tx) error {
		out = &clientapi.Assets{Assets: []clientapi.Asset{}, Quota: s.cfg.Limits.User, Most: s.cfg.Limits.Size}
		for it, err := range tx.Scan(store.Scan{Prefix: ownedPrefix(user)}) {
			if err != nil {
				return err
			}
			r, err := parseOwned(it)
			if err != nil {
				return err
			}
			out.Assets = append(out.Assets, *s.show(r))
		}
		u, err := getUsed(tx, user)
		out.Used = u.octets
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing assets: %w", err)
	}
	return out, nil
}

// Remove deletes an asset or an upload.
func (s *Store) Remove(ctx context.Context, who account.Identity, hash string) error {
	h, err := parseHash(hash)
	if err != nil {
		return err
	}
	name := upload{who.User.String(), h}
	if err := s.enter(name); err != nil {
		return err
	}
	defer s.leave(name)
	r, err := s.find(name.user, h)
	if err != nil {
		return err
	}
	if r == nil {
		return notHere()
	}
	return s.delete(ctx, name, nil)
}

// delete deletes a record, if judge still says so, and then what is left without one. The
// upload is entered.
func (s *Store) delete(ctx context.Context, name upload, judge func(*record) bool) error {
	var gone *record
	err := s.cfg.Database.Update(ctx, func(tx *store.Tx) error {
		r, err := get(tx, name.user, name.hash)
		gone = nil
		if err != nil || r == nil || judge != nil && !judge(r) {
			return err
		}
		gone = r
		return drop(tx, r)
	})
	if err != nil || gone == nil {
		return err
	}
	if !gone.complete {
		return remove(s.uploadPath(gone.file))
	}
	return s.removeOrphan(gone.hash)
}

// removeOrphan removes an asset's file if no record names it.
func (s *Store) removeOrphan(h asset.Hash) error {
	s.files.Lock()
	defer s.files.Unlock()
	if s.holds > 0 {
		return nil // a later sweep does
	}
	kept := true
	err := s.cfg.Database.View(func(tx *store.Tx) (err error) {
		kept, err = there(tx, h)
		return err
	})
	if err != nil || kept {
		return err
	}
	return remove(s.assetPath(h))
}

// open opens an asset. Error: a Problem with CodeNotFound.
func (s *Store) open(h asset.Hash) (*os.File, error) {
	kept := false
	err := s.cfg.Database.View(func(tx *store.Tx) (err error) {
		kept, err = there(tx, h)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading about an asset: %w", err)
	}
	missing := problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no such asset, or none any more")
	if !kept {
		return nil, missing
	}
	f, err := os.Open(s.assetPath(h))
	if errors.Is(err, os.ErrNotExist) {
		s.cfg.Log.Error("the file of an asset is missing; `mimid verify` lists all that are", "asset", h.String())
		return nil, missing
	}
	if err != nil {
		return nil, fmt.Errorf("opening an asset: %w", err)
	}
	return f, nil
}
