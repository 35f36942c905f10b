package x509auth

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

// ChainLength is the number of certificates in a credential: the client's,
// then the user's.
const ChainLength = 2

// Places of the certificates in a chain.
const (
	clientAt = 0
	userAt   = 1
)

// Anchors returns the public keys that are trusted to speak for a provider,
// in any order: ed25519.PublicKey, or *ecdsa.PublicKey on P-256; others are
// passed over. There are several while a provider changes its key, and none
// for an unknown provider.
//
// It is asked for every credential, before anything about the credential is
// proved, so it must be a look-up in memory: no IO, no waiting. It is called
// from several goroutines at once. The answer is only read. It may change
// whenever trust changes, but should not change while a group operation is
// under way, and members with different answers part ways.
type Anchors func(domain string) []crypto.PublicKey

// Options configure an Authenticator.
type Options struct {
	// Anchors gives the keys of providers. Required.
	Anchors Anchors
	// CacheSize is how many verified user certificates are remembered; each
	// takes about half a kilobyte. The least recently used go first. Default
	// 4,096. Use -1 for none. It never changes a verdict.
	CacheSize int
	// MaxCertificate is the largest certificate, in bytes. Default 4 KiB; those
	// issued here have about 400. It is part of the verdict: all members and
	// servers of a group need the same.
	MaxCertificate int
}

func (o Options) withDefaults() Options {
	if o.CacheSize == 0 {
		o.CacheSize = 4096
	}
	if o.MaxCertificate == 0 {
		o.MaxCertificate = 4 << 10
	}
	return o
}

// Authenticator is an mls.Authenticator for X.509 credentials. Safe for
// concurrent use.
type Authenticator struct {
	opt      Options
	cache    *cache
	hits     atomic.Uint64
	misses   atomic.Uint64
	verified atomic.Uint64
}

var _ mls.Authenticator = (*Authenticator)(nil)

// New returns an Authenticator. Error: ErrOptions.
func New(o Options) (*Authenticator, error) {
	o = o.withDefaults()
	switch {
	case o.Anchors == nil:
		return nil, fmt.Errorf("no Anchors: %w", ErrOptions)
	case o.MaxCertificate < 0:
		return nil, fmt.Errorf("certificates of at most %d bytes: %w", o.MaxCertificate, ErrOptions)
	}
	return &Authenticator{opt: o, cache: newCache(max(o.CacheSize, 0))}, nil
}

// Stats counts what an Authenticator has done since it was made.
type Stats struct {
	// UserHits and UserMisses count user certificates that were found in the
	// cache and that were not.
	UserHits, UserMisses uint64
	// Verified counts signatures that were verified, the costly part.
	Verified uint64
	// Cached is the number of user certificates in the cache now.
	Cached int
}

// Stats returns the counters. They are read one after the other, so under
// load they may be off by a few calls.
func (a *Authenticator) Stats() Stats {
	return Stats{a.hits.Load(), a.misses.Load(), a.verified.Load(), a.cache.size()}
}

// Authenticate implements mls.Authenticator: it says whether the credential is
// a chain of certificates, all valid at the time now, from an anchor of its
// domain to the signature key. The package documentation lists the checks.
//
// Errors: all sentinels but ErrOptions and ErrOtherClient.
func (a *Authenticator) Authenticate(c mls.Credential, signatureKey []byte, now time.Time) error {
	if err := a.checkSizes(c); err != nil {
		return err
	}
	// What costs little comes first. The order also decides which error a
	// chain with several faults gets, so it must not depend on the cache.
	client, err := parseCertificate(c.Certificates[clientAt], clientRole)
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	if !bytes.Equal(client.keyBytes(), signatureKey) {
		return fmt.Errorf("client certificate of %s: %w", client.name, ErrKeyMismatch)
	}
	if err := client.validAt(now); err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	user, err := a.user(c.Certificates[userAt], client.name)
	if err != nil {
		return fmt.Errorf("user certificate: %w", err)
	}
	if err := user.validAt(now); err != nil {
		return fmt.Errorf("user certificate: %w", err)
	}
	if !a.signed(client, user.key) {
		return fmt.Errorf("client certificate of %s: %w", client.name, ErrSignature)
	}
	return nil
}

// AuthenticateSender implements mls.Authenticator for external senders, which
// are providers: a basic credential that holds the provider's URI
// ("mimi://atlanta.example"), with one of that provider's anchors as signature
// key. The anchors are the proof, so no certificate is needed; and as no chain
// passes here and no basic credential passes Authenticate, a provider cannot
// be a member nor a member an external sender.
//
// Errors: ErrCredentialType, ErrName, ErrUnknownProvider, ErrUntrusted.
func (a *Authenticator) AuthenticateSender(c mls.Credential, signatureKey []byte, _ time.Time) error {
	if c.Type != mls.CredentialBasic {
		return fmt.Errorf("external sender with credential type %d: %w", c.Type, ErrCredentialType)
	}
	domain, err := parseProvider(c.Identity)
	if err != nil {
		return err
	}
	anchors := a.opt.Anchors(domain)
	if len(anchors) == 0 {
		return fmt.Errorf("provider %s: %w", domain, ErrUnknownProvider)
	}
	for _, anchor := range anchors {
		if key, ok := keyBytes(anchor); ok && bytes.Equal(key, signatureKey) {
			return nil
		}
	}
	return fmt.Errorf("external sender of %s under %d keys: %w", domain, len(anchors), ErrUntrusted)
}

// checkChain checks what can be seen without looking into a certificate.
func checkChain(c mls.Credential) error {
	if c.Type != mls.CredentialX509 {
		return fmt.Errorf("credential type %d: %w", c.Type, ErrCredentialType)
	}
	if len(c.Certificates) != ChainLength {
		return fmt.Errorf("chain of %d certificates: %w", len(c.Certificates), ErrChainLength)
	}
	return nil
}

func (a *Authenticator) checkSizes(c mls.Credential) error {
	if err := checkChain(c); err != nil {
		return err
	}
	for _, der := range c.Certificates {
		if len(der) > a.opt.MaxCertificate {
			return fmt.Errorf("certificate of %d bytes (limit %d): %w", len(der), a.opt.MaxCertificate, ErrTooLarge)
		}
	}
	return nil
}

// user returns what a user certificate says, once it is known to be one for
// the client's user, signed by a present anchor of its domain. Its dates are
// still to be judged.
func (a *Authenticator) user(der []byte, client name) (*statement, error) {
	// A cached certificate passed parseCertificate for the same role, so from
	// here on both ways make the same checks in the same order: names, then
	// anchor. The client's domain selects the anchors because it is known
	// without parsing; the comparison makes it the user's.
	anchors := a.opt.Anchors(client.domain)
	digest := sha256.Sum256(der)
	for _, anchor := range anchors {
		id, ok := cacheKeyOf(anchor, digest)
		if !ok {
			continue
		}
		if s := a.cache.get(id); s != nil {
			a.hits.Add(1)
			return s, sameUser(s.name, client)
		}
	}
	a.misses.Add(1)
	user, err := parseCertificate(der, userRole)
	if err != nil {
		return nil, err
	}
	if err := sameUser(user.name, client); err != nil {
		return nil, err
	}
	if len(anchors) == 0 {
		return nil, fmt.Errorf("provider %s: %w", user.name.domain, ErrUnknownProvider)
	}
	for _, anchor := range anchors {
		if id, ok := cacheKeyOf(anchor, digest); ok && a.signed(user, anchor) {
			s := user.statement.detached()
			a.cache.put(id, s)
			return s, nil
		}
	}
	return nil, fmt.Errorf("%s under %d keys: %w", user.name, len(anchors), ErrUntrusted)
}

func sameUser(user, client name) error {
	if user.domain != client.domain || user.user != client.user {
		return fmt.Errorf("%s for client %s: %w", user, client, ErrNameMismatch)
	}
	return nil
}

func (a *Authenticator) signed(c *certificate, by crypto.PublicKey) bool {
	if !c.signedWithKeyOf(by) {
		return false
	}
	a.verified.Add(1)
	return c.checkSignature(by)
}

// Succeeds implements mls.Authenticator: both credentials must name the same
// client. It verifies neither; the engine has authenticated the old one and
// authenticates the new one besides.
//
// A new user key is no obstacle, but is to be shown: see UserKeyChanged.
//
// Errors: ErrOtherClient, ErrTooLarge, and those of ClientURI.
func (a *Authenticator) Succeeds(old, new mls.Credential) error {
	if err := a.checkSizes(new); err != nil {
		return fmt.Errorf("new credential: %w", err)
	}
	was, err := nameOf(old)
	if err != nil {
		return fmt.Errorf("old credential: %w", err)
	}
	is, err := nameOf(new)
	if err != nil {
		return fmt.Errorf("new credential: %w", err)
	}
	if was != is {
		return fmt.Errorf("%s continues as %s: %w", was, is, ErrOtherClient)
	}
	return nil
}

// VerifyUser judges a user certificate alone, for what users sign with their
// user keys outside of groups: it has the right form, an anchor of its domain
// signed it, and now lies within its dates (the zero time lies within all). It
// returns the user's URI and the user key, which share no memory with der.
//
// Nothing is cached. A certificate may have 4 KiB, as by default elsewhere.
//
// Errors: ErrOptions (no anchors function), ErrTooLarge, ErrMalformed,
// ErrAlgorithm, ErrName, ErrUsage, ErrCriticalExtension, ErrUnknownProvider,
// ErrUntrusted, ErrExpired, ErrNotYetValid.
func VerifyUser(der []byte, anchors Anchors, now time.Time) (uri string, key crypto.PublicKey, err error) {
	s, err := verifyUser(der, anchors, now)
	if err != nil {
		return "", nil, fmt.Errorf("user certificate: %w", err)
	}
	return s.name.userURI(), s.key, nil
}

func verifyUser(der []byte, anchors Anchors, now time.Time) (*statement, error) {
	if anchors == nil {
		return nil, fmt.Errorf("no Anchors: %w", ErrOptions)
	}
	if limit := (Options{}).withDefaults().MaxCertificate; len(der) > limit {
		return nil, fmt.Errorf("certificate of %d bytes (limit %d): %w", len(der), limit, ErrTooLarge)
	}
	c, err := parseCertificate(der, userRole)
	if err != nil {
		return nil, err
	}
	if err := c.validAt(now); err != nil {
		return nil, err
	}
	keys := anchors(c.name.domain)
	if len(keys) == 0 {
		return nil, fmt.Errorf("provider %s: %w", c.name.domain, ErrUnknownProvider)
	}
	for _, k := range keys {
		if c.signedWithKeyOf(k) && c.checkSignature(k) {
			return c.detached(), nil
		}
	}
	return nil, fmt.Errorf("%s under %d keys: %w", c.name, len(keys), ErrUntrusted)
}
