package evaluate

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/uri"
)

// ErrFile: a file is not what it should be.
var ErrFile = errors.New("evaluate: unusable file")

// Files of an evaluator in its data directory, below "keys". Without the first the network
// has no evaluators; without the second this provider is none.
const (
	SetName   = "evaluators.pem"
	ShareName = "evaluator-share.pem"
)

// Types of the PEM blocks, one in a file.
const (
	pemSet     = "MIMID EVALUATORS"
	pemShare   = "MIMID EVALUATOR SHARE"
	pemDealing = "MIMID EVALUATOR DEALING"
	pemPiece   = "MIMID EVALUATOR PIECE"

	maxFile = 64 << 10
)

// About is a key set as people see it.
type About struct {
	ID         string   `json:"id"`
	Generation uint32   `json:"generation"`
	Threshold  int      `json:"threshold"`
	Evaluators []string `json:"evaluators"`
	// Key is the public key: the same as long as the outputs are.
	Key string `json:"key"`
	// Number is the evaluator that a share is of, if one was looked at.
	Number int `json:"number,omitempty"`
	// Files are those that were made, by what they are for.
	Files []File `json:"files,omitempty"`
}

// File is a file that was made, and for whom.
type File struct {
	Path string `json:"path"`
	For  string `json:"for"`
	// Secret: only For may see it.
	Secret bool `json:"secret"`
}

func about(k *oprf.KeySet) *About {
	id := k.ID()
	a := &About{ID: fmt.Sprintf("%x", id[:]), Generation: k.Generation(), Threshold: k.Threshold(), Key: fmt.Sprintf("%x", k.PublicKey())}
	for _, p := range k.Evaluators() {
		a.Evaluators = append(a.Evaluators, p.Domain())
	}
	return a
}

// ReadSet reads a key set. Errors: ErrFile, and the system's.
func ReadSet(path string) (*oprf.KeySet, error) { return read(path, pemSet, oprf.ParseKeySet) }

// ReadShare reads a share of a key set.
func ReadShare(set *oprf.KeySet, path string) (*oprf.Share, error) {
	return read(path, pemShare, set.ParseShare)
}

// Load reads what a data directory's folder "keys" has; nil where there is none.
func Load(keys string) (set *oprf.KeySet, share *oprf.Share, err error) {
	set, err = ReadSet(filepath.Join(keys, SetName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	share, err = ReadShare(set, filepath.Join(keys, ShareName))
	if errors.Is(err, os.ErrNotExist) {
		return set, nil, nil
	}
	return set, share, err
}

// Show says what is in a file with a key set.
func Show(path string) (*About, error) {
	set, err := ReadSet(path)
	if err != nil {
		return nil, err
	}
	return about(set), nil
}

// Install puts a key set, and a share if that path is not empty, where the node of a data
// directory finds them at its next start, in place of those there were. The share is checked
// to be this domain's.
func Install(keys, domain, setPath, sharePath string) (*About, error) {
	set, err := ReadSet(setPath)
	if err != nil {
		return nil, err
	}
	a := about(set)
	var share *oprf.Share
	if sharePath != "" {
		if share, err = ReadShare(set, sharePath); err != nil {
			return nil, err
		}
		p, err := uri.ParseDomain(domain)
		if err != nil {
			return nil, err
		}
		if n, err := set.Number(p); err != nil || n != share.Number() {
			return nil, fmt.Errorf("%w: %s: the share is of %s, and this provider is %s", ErrFile, sharePath, set.Evaluators()[share.Number()-1].Domain(), domain)
		}
		a.Number = share.Number()
	}
	// The share goes first and the old one before that: a set never stands beside a share
	// of another one for longer than an interrupted installation, which a second one mends.
	if err := os.Remove(filepath.Join(keys, ShareName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if share != nil {
		if err := replace(filepath.Join(keys, ShareName), pemShare, share.Secret(), 0o600); err != nil {
			return nil, err
		}
	}
	return a, replace(filepath.Join(keys, SetName), pemSet, set.Bytes(), 0o600)
}

// Deal makes a new key for these providers, and writes the key set and the shares into a new
// directory. Whoever can read that directory before the shares are handed out can compute the
// function alone.
func Deal(dir string, threshold int, domains []string) (*About, error) {
	plan, err := planOf(threshold, domains)
	if err != nil {
		return nil, err
	}
	set, shares, err := oprf.Deal(plan)
	if err != nil {
		return nil, err
	}
	w := newWriter(dir, about(set))
	w.write(SetName, pemSet, set.Bytes(), "every provider of the network", false)
	for i, s := range shares {
		w.write(plan.Evaluators[i].Domain()+".share.pem", pemShare, s.Secret(), plan.Evaluators[i].Domain(), true)
	}
	return w.about, w.err
}

// Redeal deals a share of a key out to its next evaluators: a dealing for all of them, and a
// piece for each.
func Redeal(dir, setPath, sharePath string, threshold int, domains []string) (*About, error) {
	set, err := ReadSet(setPath)
	if err != nil {
		return nil, err
	}
	share, err := ReadShare(set, sharePath)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(threshold, domains)
	if err != nil {
		return nil, err
	}
	d, pieces, err := share.Redeal(plan)
	if err != nil {
		return nil, err
	}
	a := about(set)
	a.Number = share.Number()
	from := set.Evaluators()[share.Number()-1].Domain()
	w := newWriter(dir, a)
	w.write("from-"+from+".dealing.pem", pemDealing, d.Bytes(), "all next evaluators", false)
	for i, p := range pieces {
		to := plan.Evaluators[i].Domain()
		w.write("from-"+from+"-for-"+to+".piece.pem", pemPiece, p.Secret(), to, true)
	}
	return w.about, w.err
}

// Assemble makes the next key set, and this domain's share of it, of dealings and pieces, in
// whatever order the files are given. Without pieces it makes the key set only.
func Assemble(dir, domain, setPath string, files []string) (*About, error) {
	set, err := ReadSet(setPath)
	if err != nil {
		return nil, err
	}
	var dealings []*oprf.Dealing
	var pieces []*oprf.Piece
	for _, path := range files {
		kind, b, err := readBlock(path)
		if err != nil {
			return nil, err
		}
		switch kind {
		case pemDealing:
			d, err := oprf.ParseDealing(b)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
			}
			dealings = append(dealings, d)
		case pemPiece:
			p, err := oprf.ParsePiece(b)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
			}
			pieces = append(pieces, p)
		default:
			return nil, fmt.Errorf("%w: %s holds a %q: dealings and pieces are needed", ErrFile, path, kind)
		}
	}
	next, err := set.Next(dealings...)
	if err != nil {
		return nil, err
	}
	a := about(next)
	w := newWriter(dir, a)
	if len(pieces) > 0 {
		p, err := uri.ParseDomain(domain)
		if err != nil {
			return nil, err
		}
		if a.Number, err = next.Number(p); err != nil {
			return nil, err
		}
		share, err := set.Assemble(a.Number, dealings, pieces)
		if err != nil {
			return nil, err
		}
		w.write(domain+".share.pem", pemShare, share.Secret(), domain, true)
	}
	w.write(SetName, pemSet, next.Bytes(), "every provider of the network", false)
	return w.about, w.err
}

func planOf(threshold int, domains []string) (p oprf.Plan, err error) {
	p.Threshold = threshold
	for _, d := range domains {
		e, err := uri.ParseDomain(d)
		if err != nil {
			return p, fmt.Errorf("evaluator %q: %w", d, err)
		}
		p.Evaluators = append(p.Evaluators, e)
	}
	return p, nil
}

// writer makes files in a directory; the first error stays.
type writer struct {
	dir   string
	about *About
	err   error
}

func newWriter(dir string, a *About) *writer { return &writer{dir, a, os.MkdirAll(dir, 0o700)} }

func (w *writer) write(name, kind string, b []byte, whose string, secret bool) {
	if w.err != nil {
		return
	}
	path := filepath.Join(w.dir, name)
	if _, err := os.Lstat(path); err == nil {
		w.err = fmt.Errorf("%s is there already: name another directory", path)
		return
	}
	mode := os.FileMode(0o644)
	if secret {
		mode = 0o600
	}
	if w.err = replace(path, kind, b, mode); w.err == nil {
		w.about.Files = append(w.about.Files, File{path, whose, secret})
	}
}

// replace writes a file whole or not at all, durably.
func replace(path, kind string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: b})
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func readBlock(path string) (kind string, b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", nil, fmt.Errorf("reading %s: %w", path, err)
	}
	block, rest := pem.Decode(text)
	if len(text) > maxFile || block == nil || len(rest) > 0 {
		return "", nil, fmt.Errorf("%w: %s is not a PEM file with one block", ErrFile, path)
	}
	return block.Type, block.Bytes, nil
}

func read[T any](path, want string, parse func([]byte) (*T, error)) (*T, error) {
	kind, b, err := readBlock(path)
	if err != nil {
		return nil, err
	}
	if kind != want {
		return nil, fmt.Errorf("%w: %s holds a %q, not a %q", ErrFile, path, kind, want)
	}
	v, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return v, nil
}
