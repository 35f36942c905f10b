package overlay

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2precord "github.com/libp2p/go-libp2p/core/record"
	"github.com/multiformats/go-multiaddr"
)

// Bounds of a provider record. MaxRecord holds for the whole envelope.
const (
	MaxRecord         = 4096
	MaxRecordNodes    = 16
	MaxRecordAddrs    = 16 // of one node
	MaxRecordRotation = 8
	maxRecordAddr     = 256
	maxPeerIDBytes    = 64
	maxDirectoryURL   = 512

	// MaxValidity is how far in the future a record may expire.
	MaxValidity = 48 * time.Hour

	// ClockSkew is how far clocks of different providers may be apart.
	ClockSkew = 10 * time.Minute
)

const (
	recordDomain  = "mimid-provider-record-v1"       // keeps these signatures apart from all other uses of the key
	recordType    = "/mimid/provider-record"         // payload type of the envelope
	rotationLabel = "mimid-provider-key-rotation-v1" // begins what an old key signs about its successor
	recordVersion = 1

	flagReplica = 1 << 0
	flagRelay   = 1 << 1
)

// A Record says what a provider signs about itself: its key, its nodes and where they
// are. Records that leave this package have been verified, and that their key may speak
// for the domain has been checked as far as the package doc says. Nobody may change one.
type Record struct {
	Domain         string            // canonical
	ProviderKey    ed25519.PublicKey // the key in force
	Rotations      []Rotation        // oldest first; each old key vouches for its successor
	Nodes          []Node            // none for a provider that is reached by HTTPS only
	DirectoryURL   string            // of MIMI over HTTPS; "" if there is none
	ReplicaWilling bool              // offers to be a replica in rooms of others
	RelayWilling   bool              // offers to be a mix
	Seq            uint64            // the highest counts; milliseconds since 1970 when it was signed, or more
	Expires        time.Time         // milliseconds, UTC
}

// A Node is one node of a provider.
type Node struct {
	ID    PeerID
	Addrs []string // multiaddrs without the peer id, best first
}

// A Rotation is an old provider key and its signature over the key that followed it.
type Rotation struct {
	Old       ed25519.PublicKey
	Signature []byte
}

// SignRotation lets an old provider key vouch for its successor. Append the result to
// Config.Rotations when the key changes: whoever trusted the old key then trusts the new.
func SignRotation(domain string, old ed25519.PrivateKey, next ed25519.PublicKey) (Rotation, error) {
	d, err := Canonical(domain)
	if err != nil {
		return Rotation{}, err
	}
	if len(old) != ed25519.PrivateKeySize || len(next) != ed25519.PublicKeySize {
		return Rotation{}, fmt.Errorf("%w: rotation needs two Ed25519 keys", ErrConfig)
	}
	return Rotation{
		Old:       old.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(old, rotationMessage(d, next)),
	}, nil
}

// rotationMessage: label, 0, length of the domain (1 byte), domain, new key.
func rotationMessage(domain string, next ed25519.PublicKey) []byte {
	m := append([]byte(rotationLabel), 0, byte(len(domain)))
	m = append(m, domain...)
	return append(m, next...)
}

// HasNode reports whether the record names p as a node of the provider.
func (r *Record) HasNode(p PeerID) bool {
	return slices.ContainsFunc(r.Nodes, func(n Node) bool { return n.ID == p })
}

// keys returns the rotated keys and the key in force, oldest first.
func (r *Record) keys() []ed25519.PublicKey {
	var out []ed25519.PublicKey
	for _, rot := range r.Rotations {
		out = append(out, rot.Old)
	}
	return append(out, r.ProviderKey)
}

// recordKey is where the DHT keeps the record of a domain.
func recordKey(domain string) string {
	sum := sha256.Sum256([]byte(domain))
	return "/" + recordNamespace + "/" + string(sum[:])
}

// keyedRecordKey is a second place for the record, for those who know a key of the
// provider already. Nobody else can put anything there, while under the domain alone a
// stranger may have been first.
func keyedRecordKey(domain, fingerprint string) string {
	sum := sha256.Sum256([]byte(domain + "\x00" + fingerprint)) // no domain contains a zero
	return "/" + recordNamespace + "/" + string(sum[:])
}

// places returns the DHT keys under which the record belongs, the domain's first.
func (r *Record) places() []string {
	out := []string{recordKey(r.Domain)}
	for _, k := range r.keys() {
		out = append(out, keyedRecordKey(r.Domain, Fingerprint(k)))
	}
	return out
}

// The payload of the envelope, all integers big-endian:
//
//	u8      version = 1
//	u8 n    domain[n], canonical
//	32      provider key, the same that signs the envelope
//	u64     seq
//	u64     expires, milliseconds since 1970
//	u8      flags: 1 replica willing, 2 relay willing; others are 0 in
//	        this version and readers ignore them
//	u16 n   directory URL[n], n <= 512
//	u8 k    number of nodes, up to 16, and 0 only with a directory URL; each:
//	  u8 n    peer id[n], n <= 64
//	  u8 a    number of addresses, <= 16; each:
//	    u16 n   multiaddr[n], n <= 256
//	u8 k    number of rotations, <= 8; each:
//	  32      old key
//	  64      its signature over the next old key, or over the provider
//	          key if it is the last
//
// Nothing follows. The envelope is a libp2p signed envelope with our own domain string
// and payload type, of at most 4096 bytes.
func (r *Record) appendPayload(b []byte) ([]byte, error) {
	b = append(b, recordVersion, byte(len(r.Domain)))
	b = append(b, r.Domain...)
	b = append(b, r.ProviderKey...)
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Expires.UnixMilli()))
	var flags byte
	if r.ReplicaWilling {
		flags |= flagReplica
	}
	if r.RelayWilling {
		flags |= flagRelay
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.DirectoryURL)))
	b = append(b, r.DirectoryURL...)
	b = append(b, byte(len(r.Nodes)))
	for _, n := range r.Nodes {
		id, err := n.ID.decode()
		if err != nil {
			return nil, err
		}
		b = append(b, byte(len(id)))
		b = append(b, id...)
		b = append(b, byte(len(n.Addrs)))
		for _, a := range n.Addrs {
			ma, err := multiaddr.NewMultiaddr(a)
			if err != nil {
				return nil, fmt.Errorf("%w: address %.80q: %v", ErrRecord, a, err)
			}
			b = binary.BigEndian.AppendUint16(b, uint16(len(ma.Bytes())))
			b = append(b, ma.Bytes()...)
		}
	}
	b = append(b, byte(len(r.Rotations)))
	for _, rot := range r.Rotations {
		b = append(b, rot.Old...)
		b = append(b, rot.Signature...)
	}
	return b, nil
}

// seal signs the record with the provider key. The result passes openRecord.
func (r *Record) seal(key ed25519.PrivateKey) ([]byte, error) {
	payload, err := r.appendPayload(nil)
	if err != nil {
		return nil, err
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("reading provider key: %w", err)
	}
	env, err := libp2precord.Seal(&sealed{payload}, priv)
	if err != nil {
		return nil, fmt.Errorf("signing provider record: %w", err)
	}
	out, err := env.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encoding provider record: %w", err)
	}
	if _, err := openRecord(out); err != nil { // what we would refuse, we do not publish
		return nil, err
	}
	return out, nil
}

// openRecord verifies the envelope, decodes the record strictly, and verifies its chain
// of keys. Time, DHT key and trust are for the caller.
func openRecord(env []byte) (*Record, error) {
	if len(env) > MaxRecord {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrRecord, len(env), MaxRecord)
	}
	var s sealed
	e, err := libp2precord.ConsumeTypedEnvelope(env, &s)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRecord, err)
	}
	if string(e.PayloadType) != recordType {
		return nil, fmt.Errorf("%w: payload type %.80q", ErrRecord, e.PayloadType)
	}
	signer, err := rawEd25519(e.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRecord, err)
	}
	r, err := parsePayload(s.payload)
	if err != nil {
		return nil, err
	}
	if !signer.Equal(r.ProviderKey) {
		return nil, fmt.Errorf("%w: signed by another key than the one it names", ErrRecord)
	}
	if err := checkRotations(r.Domain, r.Rotations, r.ProviderKey); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRecord, err)
	}
	return r, nil
}

// checkRotations verifies that each old key signed its successor, and that no key
// comes twice.
func checkRotations(domain string, rotations []Rotation, current ed25519.PublicKey) error {
	for i, rot := range rotations {
		next := current
		if i+1 < len(rotations) {
			next = rotations[i+1].Old
		}
		if len(rot.Old) != ed25519.PublicKeySize || len(rot.Signature) != ed25519.SignatureSize {
			return fmt.Errorf("rotation %d has a key or signature of the wrong length", i)
		}
		if !ed25519.Verify(rot.Old, rotationMessage(domain, next), rot.Signature) {
			return fmt.Errorf("rotation %d is not signed by its old key", i)
		}
		if current.Equal(rot.Old) || slices.ContainsFunc(rotations[:i], func(o Rotation) bool { return o.Old.Equal(rot.Old) }) {
			return fmt.Errorf("rotation %d repeats a key", i)
		}
	}
	return nil
}

// checkTime judges expiry and sequence number. A sequence number is a time, so that
// nobody can occupy a name for good with the highest number there is.
func (r *Record) checkTime(now time.Time) error {
	switch {
	case !r.Expires.After(now):
		return fmt.Errorf("%w: expired at %s", ErrRecord, r.Expires.Format(time.RFC3339))
	case r.Expires.After(now.Add(MaxValidity + ClockSkew)):
		return fmt.Errorf("%w: expires at %s, more than %s ahead", ErrRecord, r.Expires.Format(time.RFC3339), MaxValidity)
	case r.Seq > uint64(now.Add(ClockSkew).UnixMilli()):
		return fmt.Errorf("%w: sequence number %d is a time in the future; compare the clocks", ErrRecord, r.Seq)
	}
	return nil
}

// parsePayload is the inverse of appendPayload: it accepts nothing that appendPayload
// would write otherwise, except for flags it does not know.
func parsePayload(b []byte) (*Record, error) {
	d := decoder{rest: b}
	r := &Record{}
	if v := d.u8(); v != recordVersion && !d.failed {
		return nil, fmt.Errorf("%w: version %d", ErrRecord, v)
	}
	r.Domain = string(d.take(int(d.u8())))
	r.ProviderKey = bytes.Clone(d.take(ed25519.PublicKeySize))
	r.Seq = d.u64()
	expires := d.u64()
	if expires > 1<<48 {
		return nil, fmt.Errorf("%w: expiry out of range", ErrRecord)
	}
	r.Expires = time.UnixMilli(int64(expires)).UTC()
	flags := d.u8()
	r.ReplicaWilling, r.RelayWilling = flags&flagReplica != 0, flags&flagRelay != 0
	r.DirectoryURL = string(d.take(d.max(int(d.u16()), maxDirectoryURL)))

	nodes := d.max(int(d.u8()), MaxRecordNodes)
	for range nodes {
		var n Node
		raw := d.take(d.max(int(d.u8()), maxPeerIDBytes))
		addrs := d.max(int(d.u8()), MaxRecordAddrs)
		if d.failed {
			break
		}
		id, err := peer.IDFromBytes(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: node id: %v", ErrRecord, err)
		}
		n.ID = peerText(id)
		if back, err := n.ID.decode(); err != nil || back != id {
			return nil, fmt.Errorf("%w: a peer id that has no text", ErrRecord)
		}
		if r.HasNode(n.ID) {
			return nil, fmt.Errorf("%w: node %s comes twice", ErrRecord, n.ID)
		}
		for range addrs {
			raw := d.take(d.max(int(d.u16()), maxRecordAddr))
			if d.failed {
				break
			}
			a, err := multiaddr.NewMultiaddrBytes(bytes.Clone(raw))
			if err != nil {
				return nil, fmt.Errorf("%w: address of node %s: %v", ErrRecord, n.ID, err)
			}
			n.Addrs = append(n.Addrs, a.String())
		}
		r.Nodes = append(r.Nodes, n)
	}
	for range d.max(int(d.u8()), MaxRecordRotation) {
		r.Rotations = append(r.Rotations, Rotation{
			Old:       bytes.Clone(d.take(ed25519.PublicKeySize)),
			Signature: bytes.Clone(d.take(ed25519.SignatureSize)),
		})
	}
	switch {
	case d.failed:
		return nil, fmt.Errorf("%w: truncated, or a length is out of range", ErrRecord)
	case len(d.rest) != 0:
		return nil, fmt.Errorf("%w: %d bytes follow its end", ErrRecord, len(d.rest))
	case len(r.Nodes) == 0 && r.DirectoryURL == "":
		return nil, fmt.Errorf("%w: it names no node and no HTTPS directory", ErrRecord)
	}
	if c, err := Canonical(r.Domain); err != nil || c != r.Domain {
		return nil, fmt.Errorf("%w: domain %.80q is not canonical", ErrRecord, r.Domain)
	}
	if err := checkDirectoryURL(r.DirectoryURL); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRecord, err)
	}
	return r, nil
}

func checkDirectoryURL(s string) error {
	if s == "" {
		return nil
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("directory URL %.80q is not https://host/path", s)
	}
	return nil
}

// A decoder reads a payload. After the first failure it returns zeroes, and nothing is
// read whose length was not first found to be present.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if d.failed || n > len(d.rest) {
		d.failed = true
		return nil
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

// max lets n through if it is at most limit.
func (d *decoder) max(n, limit int) int {
	if n > limit {
		d.failed = true
	}
	if d.failed {
		return 0
	}
	return n
}

func (d *decoder) u8() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u16() uint16 {
	if b := d.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sealed carries the payload in and out of the envelope.
type sealed struct{ payload []byte }

func (s *sealed) Domain() string                 { return recordDomain }
func (s *sealed) Codec() []byte                  { return []byte(recordType) }
func (s *sealed) MarshalRecord() ([]byte, error) { return s.payload, nil }
func (s *sealed) UnmarshalRecord(b []byte) error { s.payload = bytes.Clone(b); return nil }
