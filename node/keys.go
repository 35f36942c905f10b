package node

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mimid/mimid/overlay"
)

// ErrKeys: the keys in the data directory are missing, damaged or readable by
// others.
var ErrKeys = errors.New("node: unusable keys")

// ErrExists: the data directory holds a node already.
var ErrExists = errors.New("node: there is a node already")

// Keys are a node's private keys. It prints none of them.
type Keys struct {
	provider []ed25519.PrivateKey // oldest first; the last is in force
	node     ed25519.PrivateKey
	franking ed25519.PrivateKey
}

// Format implements fmt.Formatter.
func (k Keys) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "Keys(provider %.16s)", k.Fingerprint())
}

// Fingerprint is that of the provider key in force, as others pin it.
func (k *Keys) Fingerprint() string {
	return overlay.Fingerprint(k.present().Public().(ed25519.PublicKey))
}

func (k *Keys) present() ed25519.PrivateKey { return k.provider[len(k.provider)-1] }

// signer returns the private half of one of the provider keys, nil if it is none.
func (k *Keys) signer(pub ed25519.PublicKey) ed25519.PrivateKey {
	for _, p := range k.provider {
		if pub.Equal(p.Public()) {
			return p
		}
	}
	return nil
}

// plainIDs is the secret of which come the ids of requests without an envelope. The first
// key stays over all rotations, and so does the id of a repeated request.
func (k *Keys) plainIDs() []byte {
	b, err := hkdf.Key(sha256.New, k.provider[0].Seed(), nil, "mimid plain request ids 1", 32)
	if err != nil { // 32 octets can always be had
		panic("node: deriving the secret of request ids: " + err.Error())
	}
	return b
}

// rotations let each old key vouch for its successor.
func (k *Keys) rotations(domain string) ([]overlay.Rotation, error) {
	var out []overlay.Rotation
	for i := range len(k.provider) - 1 {
		r, err := overlay.SignRotation(domain, k.provider[i], k.provider[i+1].Public().(ed25519.PublicKey))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func keyDir(dir string) string { return filepath.Join(dir, "keys") }
func providerFile(dir string, n int) string {
	return filepath.Join(keyDir(dir), fmt.Sprintf("provider-%d.pem", n))
}

// Init makes a data directory: keys, and a configuration that c is. Nothing that
// is there is overwritten. Error: ErrExists.
func Init(dir string, c Config) (*Keys, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if _, err := os.Stat(filepath.Join(dir, ConfigName)); err == nil {
		return nil, fmt.Errorf("%w in %s; choose another --dir, or delete it together with all its users' rooms", ErrExists, dir)
	}
	if err := os.MkdirAll(keyDir(dir), 0o700); err != nil {
		return nil, fmt.Errorf("making data directory: %w", err)
	}
	for _, f := range []string{providerFile(dir, 1), filepath.Join(keyDir(dir), "node.pem"), filepath.Join(keyDir(dir), "franking.pem")} {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err == nil {
			err = writeKey(f, key)
		}
		if err != nil {
			return nil, fmt.Errorf("making key: %w", err)
		}
	}
	b, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	// Last, so that a directory with a configuration is complete.
	if err := writeFile(filepath.Join(dir, ConfigName), b, 0o600); err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return ReadKeys(dir)
}

// ReadKeys reads the keys of a data directory. Error: ErrKeys.
func ReadKeys(dir string) (*Keys, error) {
	k := new(Keys)
	for n := 1; ; n++ {
		key, err := readKey(providerFile(dir, n))
		if errors.Is(err, os.ErrNotExist) && n > 1 {
			break
		}
		if err != nil {
			return nil, err
		}
		k.provider = append(k.provider, key)
	}
	var err error
	if k.node, err = readKey(filepath.Join(keyDir(dir), "node.pem")); err != nil {
		return nil, err
	}
	k.franking, err = readKey(filepath.Join(keyDir(dir), "franking.pem"))
	return k, err
}

// rotateKey makes a new provider key, for which the present one vouches. A running
// node takes it when it is started again.
func rotateKey(dir string) (old, new string, err error) {
	k, err := ReadKeys(dir)
	if err != nil {
		return "", "", err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		err = writeKey(providerFile(dir, len(k.provider)+1), key)
	}
	if err != nil {
		return "", "", fmt.Errorf("making provider key: %w", err)
	}
	next := Keys{provider: append(slices.Clone(k.provider), key)}
	return k.Fingerprint(), next.Fingerprint(), nil
}

func readKey(path string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %04o and can be read by others; make it 0600", ErrKeys, path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, fmt.Errorf("%w: %s is not a PEM file with one private key", ErrKeys, path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if ed, ok := key.(ed25519.PrivateKey); err == nil && ok {
		return ed, nil
	}
	return nil, fmt.Errorf("%w: %s holds no Ed25519 key", ErrKeys, path)
}

func writeKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// writeFile makes a new file, durable when it returns: contents first, then the
// name. It refuses to overwrite.
func writeFile(path string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // unlike Rename it does not overwrite
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
