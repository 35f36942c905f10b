package mls

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Tests against the official MLS test vectors (mlswg/mls-implementations,
// formats in its test-vectors.md). They are read where they are, from the
// folder "mls" in the directory that MIMID_VECTORS names; they are no part of
// this module.

const vectorVariable = "MIMID_VECTORS"

// vectorHex is a byte string that the files write in hexadecimal; null and an
// absent one are nil.
type vectorHex []byte

func (h *vectorHex) UnmarshalText(text []byte) error {
	*h = make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*h, text)
	return err
}

// loadVectors reads all cases of one file. A field that T does not know fails
// the test, so that none is overlooked.
func loadVectors[T any](t *testing.T, name string) []T {
	t.Helper()
	dir, set := os.LookupEnv(vectorVariable)
	if !set || dir == "" {
		set, dir = false, filepath.Join("..", "..", "..", "shared", "vectors")
	}
	dir = filepath.Join(dir, "mls")
	if _, err := os.Stat(dir); !set && errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no MLS test vectors here: set %s to the directory that holds mls/%s", vectorVariable, name)
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatalf("reading test vectors (%s): %v", vectorVariable, err)
	}
	var cases []T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&cases); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(cases) == 0 {
		t.Fatalf("%s has no cases", name)
	}
	return cases
}

// vectorCount counts the cases that ran, by suite.
type vectorCount map[CipherSuite]int

// runs says whether a case is for this engine, and counts it if so.
func (c vectorCount) runs(suite CipherSuite) bool {
	if !suite.Supported() {
		return false
	}
	c[suite]++
	return true
}

// check fails unless cases of each of the suites ran.
func (c vectorCount) check(t *testing.T, name string, suites ...CipherSuite) {
	t.Helper()
	for _, s := range suites {
		if c[s] == 0 {
			t.Errorf("%s: no case of suite %d ran", name, s)
		}
		t.Logf("%s: %d cases of suite %d ran", name, c[s], s)
	}
}

// vectorSuites occur in every file that has suites, but for one.
var vectorSuites = []CipherSuite{X25519AES128Ed25519, P256AES128P256, X25519ChaChaEd25519}

func vectorEqual(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s = %x, want %x", what, got, want)
	}
}

func vectorOK(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func vectorRefused(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// vectorMessage reads an MLSMessage, which must encode to the same bytes.
func vectorMessage(t *testing.T, what string, b []byte) *Message {
	t.Helper()
	m, err := ParseMessage(b, Limits{})
	vectorOK(t, what, err)
	vectorEqual(t, what+", encoded again", m.Bytes(), b)
	return m
}

// vectorParse reads a structure that has no Parse function of its own; it must
// encode to the same bytes.
func vectorParse(t *testing.T, what string, b []byte, read func(*reader), app func([]byte) []byte) {
	t.Helper()
	vectorOK(t, what, parse(b, Limits{}, what, read))
	vectorEqual(t, what+", encoded again", app(nil), b)
}

// vectorAuthContent reads an AuthenticatedContent, which must encode to the
// same bytes.
func vectorAuthContent(t *testing.T, b []byte) *authContent {
	t.Helper()
	a := new(authContent)
	vectorParse(t, "AuthenticatedContent", b, func(r *reader) {
		a.wire = WireFormat(r.U16())
		a.framedContent.read(r)
		a.readAuth(r)
	}, a.append)
	return a
}

// vectorTrust takes every credential at its word: the vectors are about
// everything else.
type vectorTrust struct{}

func (vectorTrust) Authenticate(Credential, []byte, time.Time) error       { return nil }
func (vectorTrust) AuthenticateSender(Credential, []byte, time.Time) error { return nil }
func (vectorTrust) Succeeds(Credential, Credential) error                  { return nil }

// vectorLimits is the configuration under which the vectors' KeyPackages pass:
// many of them are valid for all time.
var vectorLimits = Config{Authenticator: vectorTrust{}, Limits: Limits{Lifetime: math.MaxInt64}}

func vectorConfig(t *testing.T) Config {
	t.Helper()
	cfg, err := vectorLimits.prepared()
	vectorOK(t, "Config", err)
	return cfg
}
