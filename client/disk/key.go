package disk

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

const (
	magic      = "mimidkey"
	keyVersion = 1
	kindPlain  = 0
	kindSealed = 1
	masterSize = 32
	saltSize   = 16
	// Of argon2id, for new keys: RFC 9106's second choice.
	argonTime, argonMemory, argonThreads = 3, 64 << 10, 4
	maxMemory                            = 1 << 20 // KiB, of a key file
)

// keys are what the master key becomes.
type keys struct{ names, values []byte }

// Format implements fmt.Formatter; it prints no key.
func (keys) Format(s fmt.State, _ rune) { fmt.Fprint(s, "keys") }

func derive(master []byte) (keys, error) {
	names, err := hkdf.Key(sha256.New, master, nil, "mimid client names", 32)
	if err != nil {
		return keys{}, fmt.Errorf("deriving keys: %w", err)
	}
	values, err := hkdf.Key(sha256.New, master, nil, "mimid client values", 32)
	if err != nil {
		return keys{}, fmt.Errorf("deriving keys: %w", err)
	}
	return keys{names, values}, nil
}

// openKey reads the key file, or makes one if there is none and may be none.
func openKey(file string, passphrase []byte, mayMake bool) (keys, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if !mayMake {
			return keys{}, fmt.Errorf("reading %s: there is a store and no key to it: %w", file, ErrKey)
		}
		return makeKey(file, passphrase)
	}
	if err != nil {
		return keys{}, fmt.Errorf("reading key: %w", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		return keys{}, fmt.Errorf("reading key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return keys{}, fmt.Errorf("%s has mode %o, others can read it; make it 0600 if none has: %w", file, info.Mode().Perm(), ErrKey)
	}
	master, err := parseKey(b, passphrase)
	if err != nil {
		return keys{}, fmt.Errorf("reading %s: %w", file, err)
	}
	return derive(master)
}

func parseKey(b, passphrase []byte) ([]byte, error) {
	head := append([]byte(magic), keyVersion)
	if len(b) < len(head)+1 || !bytes.Equal(b[:len(head)], head) {
		return nil, fmt.Errorf("not a key of version %d: %w", keyVersion, ErrKey)
	}
	kind, rest := b[len(head)], b[len(head)+1:]
	switch {
	case kind == kindPlain && len(rest) == masterSize:
		if len(passphrase) > 0 {
			return nil, fmt.Errorf("a passphrase was given and the key has none: %w", ErrPassphrase)
		}
		return rest, nil
	case kind == kindSealed && len(rest) == 9+saltSize+chacha20poly1305.NonceSizeX+masterSize+chacha20poly1305.Overhead:
		time, memory, threads := binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:]), rest[8]
		if time == 0 || time > 64 || memory < 8 || memory > maxMemory || threads == 0 {
			return nil, fmt.Errorf("argon2id with time %d, memory %d, threads %d: %w", time, memory, threads, ErrKey)
		}
		salt := rest[9 : 9+saltSize]
		nonce := rest[9+saltSize : 9+saltSize+chacha20poly1305.NonceSizeX]
		aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, salt, time, memory, threads, chacha20poly1305.KeySize))
		if err != nil {
			return nil, err
		}
		master, err := aead.Open(nil, nonce, rest[9+saltSize+chacha20poly1305.NonceSizeX:], b[:len(head)+1+9+saltSize])
		if err != nil {
			return nil, ErrPassphrase
		}
		return master, nil
	}
	return nil, fmt.Errorf("kind %d with %d octets: %w", kind, len(rest), ErrKey)
}

// makeKey makes a key file; it is whole and on the disk before it is used.
func makeKey(file string, passphrase []byte) (keys, error) {
	master := make([]byte, masterSize)
	rand.Read(master) // never fails
	b := append([]byte(magic), keyVersion, kindPlain)
	if len(passphrase) == 0 {
		b = append(b, master...)
	} else {
		b[len(b)-1] = kindSealed
		b = binary.BigEndian.AppendUint32(b, argonTime)
		b = binary.BigEndian.AppendUint32(b, argonMemory)
		b = append(b, argonThreads)
		random := make([]byte, saltSize+chacha20poly1305.NonceSizeX)
		rand.Read(random)
		b = append(b, random[:saltSize]...)
		aead, err := chacha20poly1305.NewX(argon2.IDKey(passphrase, random[:saltSize], argonTime, argonMemory, argonThreads, chacha20poly1305.KeySize))
		if err != nil {
			return keys{}, fmt.Errorf("making key: %w", err)
		}
		ad := b[:len(b):len(b)]
		b = append(b, random[saltSize:]...)
		b = aead.Seal(b, random[saltSize:], master, ad)
	}
	if err := writeDurably(file, b); err != nil {
		return keys{}, fmt.Errorf("writing key: %w", err)
	}
	return derive(master)
}

func writeDurably(file string, b []byte) error {
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
