// Package pairing brings a user's account from one of the user's devices to a new one, on
// another machine, through a provider that learns nothing by that and can change nothing.
//
// What has to come across is the user's key, which signs the certificates of the user's
// devices: whoever has it is the user. So the user carries a secret from the one device to
// the other by hand (Code), of 128 random bits, and the provider carries two messages:
//
//	the new device    hello: a fresh X25519 key and a name, under a MAC of the secret
//	the old device    answer: the account, encrypted to that key, under a MAC of the secret
//
// The MAC of the hello shows the old device that the key is that of whom the user gave the
// code; the MAC of the answer shows the new one that the account is that of whom the user got
// it from. So a provider that puts a key of its own in the place of the new device's gets no
// answer, and one that answers by itself, with an account that it has the key of, is not
// believed. Nor can it guess: the secret has as many bits as the keys have strength, which
// takes no password-authenticated exchange.
//
// The account is encrypted to a key that the new device forgets, not to the secret. So
// whoever finds the code later, and has recorded everything, reads nothing: in a shell's
// history, on a photograph. Whoever gets hold of the code while it is good, before the new
// device has used it, can take that one's place. Therefore an old device answers one hello,
// within minutes, and names who has got the answer; and the box at the provider takes one
// hello.
//
// The box is where the provider keeps the two messages. Its name is made of the secret, and
// does not tell it.
//
//	prk      = HKDF-Extract(SHA-256, salt "mimid device pairing v1", secret)
//	box      = HKDF-Expand(prk, "box", 16)
//	mac keys = HKDF-Expand(prk, "hello", 32), HKDF-Expand(prk, "answer", 32)
//
//	struct { uint8 version = 1; opaque key[32]; opaque device<V>; opaque mac[32]; } Hello;
//	struct { uint8 version = 1; opaque kem_output<V>; opaque ciphertext<V>; opaque mac[32]; } Answer;
//	struct { opaque domain<V>; opaque user<V>; opaque invite<V>; opaque user_key[32]; } Account;
//
// The MACs are HMAC-SHA-256: of box and what of the hello stands before its mac; of box, the
// whole hello, and what of the answer stands before its mac. The encryption is HPKE
// (EncryptWithLabel of RFC 9420 section 5.1.3, cipher suite 1), with the label "mimid device
// pairing v1" and the whole hello as its context.
//
// The invite in the account is the provider's, for one more device of this user. Read
// pairing.go; package client says when each is called.
package pairing

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// Lifetime is for how long a code is good.
const Lifetime = 10 * time.Minute

// Bounds of the messages, in octets.
const (
	MaxHello  = 256
	MaxAnswer = 1024
	maxCode   = 1024
	maxField  = 255
	maxName   = 64 // of a device
)

var (
	// ErrCode: a text that is no code, or not the whole of one. The error has nothing of it.
	ErrCode = errors.New("pairing: not a device code")
	// ErrForged: a message that was not made by who has the code, or was changed.
	ErrForged = errors.New("pairing: a message that was not made with the code")
	// ErrMessage: a message that does not decode, or that would be too long.
	ErrMessage = errors.New("pairing: not a message")
)

const (
	label      = "mimid device pairing v1"
	version    = 1
	secretSize = 16
	keySize    = 32
	suite      = mls.X25519AES128Ed25519
)

// Code is what a user carries from the old device to the new one: the URL of the provider, and
// the secret. It is printed without that.
type Code struct {
	url    string
	secret *[secretSize]byte
}

// NewCode makes a code for a provider's URL.
func NewCode(url string) *Code {
	c := &Code{url, new([secretSize]byte)}
	rand.Read(c.secret[:]) // never fails
	return c
}

const fragment = "#device="

// Reveal returns the code as people carry it: the URL, "#device=", and the secret in base64url
// without padding. Whoever sees it while it is good may become the user.
func (c *Code) Reveal() string {
	return c.url + fragment + base64.RawURLEncoding.EncodeToString(c.secret[:])
}

// ParseCode reads what Reveal has written. Error: ErrCode.
func ParseCode(s string) (*Code, error) {
	s = strings.TrimSpace(s)
	url, text, found := strings.Cut(s, fragment)
	if !found || url == "" || len(s) > maxCode {
		return nil, fmt.Errorf("not of the form https://mimi.atlanta.example%sSECRET: %w", fragment, ErrCode)
	}
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(secret) != secretSize {
		return nil, fmt.Errorf("it is mistyped or cut: %w", ErrCode)
	}
	return &Code{url, (*[secretSize]byte)(secret)}, nil
}

// URL returns that of the provider.
func (c *Code) URL() string { return c.url }

// String returns the provider's URL only.
func (c *Code) String() string { return c.url + fragment + "..." }

// Format implements fmt.Formatter; no verb prints the secret.
func (c *Code) Format(s fmt.State, _ rune) { fmt.Fprint(s, c.String()) }

func (c *Code) derive(what string, n int) []byte {
	b, err := hkdf.Key(sha256.New, c.secret[:], []byte(label), what, n)
	if err != nil {
		panic("pairing: deriving a key: " + err.Error()) // lengths are constants
	}
	return b
}

// Box names the box at the provider, in 32 hexadecimal digits.
func (c *Code) Box() string { return hex.EncodeToString(c.derive("box", 16)) }

func (c *Code) mac(what string, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, c.derive(what, sha256.Size))
	h.Write(c.derive("box", 16))
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// Account is what comes across.
type Account struct {
	Domain, User string
	Invite       string // of the provider, for one more device
	UserKey      [32]byte
}

// Format implements fmt.Formatter; it prints no key.
func (a Account) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "Account(%s)", a.User) }

// Newcomer is a new device that has said hello.
type Newcomer struct {
	code  *Code
	key   mls.HPKEKey
	hello []byte
}

// Ask makes a new device's hello, with the name that it wants to have.
// Errors: ErrMessage for a name that is too long.
func Ask(c *Code, device string) (*Newcomer, error) {
	if device == "" || len(device) > maxName {
		return nil, fmt.Errorf("a device's name of %d octets, there are 1 to %d: %w", len(device), maxName, ErrMessage)
	}
	key, err := mls.GenerateHPKEKey(suite)
	if err != nil {
		return nil, fmt.Errorf("making a hello: %w", err)
	}
	b := append([]byte{version}, key.Public()...)
	b = presentation.AppendOpaque(b, []byte(device))
	return &Newcomer{c, key, append(b, c.mac("hello", b)...)}, nil
}

// Hello returns the message for the old device.
func (n *Newcomer) Hello() []byte { return slices.Clone(n.hello) }

// Format implements fmt.Formatter; it prints no key.
func (n Newcomer) Format(s fmt.State, _ rune) { fmt.Fprint(s, "Newcomer") }

// cut takes the MAC off a message.
func cut(b []byte, limit int) (body, mac []byte, err error) {
	if len(b) > limit || len(b) <= sha256.Size {
		return nil, nil, fmt.Errorf("%d octets: %w", len(b), ErrMessage)
	}
	n := len(b) - sha256.Size
	return b[:n], b[n:], nil
}

// Answer checks a hello and answers it with the account. It returns the new device's name,
// which is that device's word. Answer one hello for a code, and no other after it.
// Errors: ErrForged, ErrMessage.
func Answer(c *Code, hello []byte, a *Account) (answer []byte, device string, err error) {
	body, mac, err := cut(hello, MaxHello)
	if err == nil && !hmac.Equal(mac, c.mac("hello", body)) {
		err = ErrForged
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading a hello: %w", err)
	}
	r := presentation.NewReader(body)
	if v := r.U8(); v != version && r.Err() == nil {
		return nil, "", fmt.Errorf("a hello of version %d: %w", v, ErrMessage)
	}
	key, name := r.Fixed(keySize), r.Opaque()
	if err := r.Done(); err != nil || len(name) == 0 || len(name) > maxName {
		return nil, "", fmt.Errorf("reading a hello: %w", ErrMessage)
	}
	plain, err := a.bytes()
	if err != nil {
		return nil, "", err
	}
	ct, err := suite.Encrypt(key, label, hello, plain)
	if err != nil {
		return nil, "", fmt.Errorf("answering a hello: %w: %w", ErrMessage, err)
	}
	b := presentation.AppendOpaque(presentation.AppendOpaque([]byte{version}, ct.KEMOutput), ct.Ciphertext)
	return append(b, c.mac("answer", hello, b)...), string(name), nil
}

// Open reads the answer. Errors: ErrForged, ErrMessage.
func (n *Newcomer) Open(answer []byte) (*Account, error) {
	a, err := n.open(answer)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return a, nil
}

func (n *Newcomer) open(answer []byte) (*Account, error) {
	body, mac, err := cut(answer, MaxAnswer)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(mac, n.code.mac("answer", n.hello, body)) {
		return nil, ErrForged
	}
	r := presentation.NewReader(body)
	v := r.U8()
	ct := mls.HPKECiphertext{KEMOutput: r.Opaque(), Ciphertext: r.Opaque()}
	if err := r.Done(); err != nil || v != version {
		return nil, fmt.Errorf("version %d: %w", v, ErrMessage)
	}
	plain, err := n.key.Decrypt(label, n.hello, ct)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return parseAccount(plain)
}

func (a *Account) bytes() (b []byte, err error) {
	for _, s := range []string{a.Domain, a.User, a.Invite} {
		if len(s) > maxField {
			return nil, fmt.Errorf("an account with %d octets in one field: %w", len(s), ErrMessage)
		}
		b = presentation.AppendOpaque(b, []byte(s))
	}
	return append(b, a.UserKey[:]...), nil
}

func parseAccount(b []byte) (*Account, error) {
	r := presentation.NewReader(b)
	a := &Account{Domain: string(r.Opaque()), User: string(r.Opaque()), Invite: string(r.Opaque())}
	copy(a.UserKey[:], r.Fixed(len(a.UserKey)))
	if err := r.Done(); err != nil || max(len(a.Domain), len(a.User), len(a.Invite)) > maxField {
		return nil, fmt.Errorf("an account that does not decode: %w", ErrMessage)
	}
	return a, nil
}
