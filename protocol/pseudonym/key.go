package pseudonym

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
)

const keySize = 32

// What keys are derived for. Each has its own label, and its context is one structure with
// lengths.
const (
	labelRoom   = "mimid pseudonym v1 room key"
	labelCommit = "mimid pseudonym v1 commitment"
	labelLink   = "mimid pseudonym v1 link"
)

// ExportLabel is what a generation's key is exported under from MLS (RFC 9420 section 8.5),
// with the room's URI as the context, ExportSize octets.
const (
	ExportLabel = "mimid room identity"
	ExportSize  = keySize
)

// Kind says what a key is.
type Kind uint8

// Kinds of keys.
const (
	// KindRoom: the room identity key of a generation. All members have the present one.
	KindRoom Kind = 1
	// KindOwn: drawn by a newcomer for links that it makes before it has the room's, in
	// KeyPackages and when it comes in from outside.
	KindOwn Kind = 2
)

// ID names a key, and commits to it.
//
//	struct {
//	    uint8 kind;                /* room(1), own(2) */
//	    uint64 generation;         /* epoch that began it; own: 0 */
//	    opaque commitment[32];
//	} KeyID;
type ID struct {
	Kind       Kind
	Generation uint64
	Commitment [sha256.Size]byte
}

const idSize = 1 + 8 + sha256.Size

// String shows kind, generation and the beginning of the commitment.
func (i ID) String() string {
	if i.Kind == KindOwn {
		return fmt.Sprintf("own key %x", i.Commitment[:4])
	}
	return fmt.Sprintf("generation %d, key %x", i.Generation, i.Commitment[:4])
}

func (i ID) compare(o ID) int {
	return cmp.Or(cmp.Compare(i.Kind, o.Kind), cmp.Compare(i.Generation, o.Generation),
		cmp.Compare(string(i.Commitment[:]), string(o.Commitment[:])))
}

func (i ID) append(b []byte) []byte {
	b = presentation.AppendU64(append(b, byte(i.Kind)), i.Generation)
	return append(b, i.Commitment[:]...)
}

func (i *ID) read(r *presentation.Reader) {
	i.Kind, i.Generation = readKind(r)
	copy(i.Commitment[:], r.Fixed(len(i.Commitment)))
}

func readKind(r *presentation.Reader) (k Kind, generation uint64) {
	k, generation = Kind(r.U8()), r.U64()
	if r.Err() == nil && k != KindRoom && (k != KindOwn || generation != 0) {
		r.Fail(ErrMalformed, "key of kind %d and generation %d", k, generation)
	}
	return k, generation
}

// Key hides names in links. The zero Key is none.
type Key struct {
	id     ID
	secret [keySize]byte
}

// Format implements fmt.Formatter; it shows the key's name and nothing of the secret.
func (k Key) Format(f fmt.State, _ rune) { io.WriteString(f, "pseudonym.Key("+k.id.String()+")") }

// ID names the key.
func (k Key) ID() ID { return k.id }

// NewKey draws a newcomer's own key.
func NewKey() Key {
	var s [keySize]byte
	rand.Read(s[:]) // never fails
	return keyOf(KindOwn, 0, s)
}

// OwnKey reads a newcomer's own key, as Secret writes it. Error: ErrMalformed.
func OwnKey(b []byte) (Key, error) {
	if len(b) != keySize {
		return Key{}, fmt.Errorf("own key of %d octets, not %d: %w", len(b), keySize, ErrMalformed)
	}
	return keyOf(KindOwn, 0, [keySize]byte(b)), nil
}

// Secret is the key as it is stored and told. It is secret.
func (k Key) Secret() []byte { return bytes.Clone(k.secret[:]) }

// RoomKey is the key of the generation that an epoch begins, from what that epoch exports
// (ExportLabel).
func RoomKey(room uri.Room, epoch uint64, exported []byte) (Key, error) {
	if len(exported) != ExportSize {
		return Key{}, fmt.Errorf("%d octets exported, not %d: %w", len(exported), ExportSize, ErrMalformed)
	}
	context := presentation.AppendOpaque(presentation.AppendU64(nil, epoch), []byte(room.String()))
	return keyOf(KindRoom, epoch, [keySize]byte(derive(exported, labelRoom, context, keySize))), nil
}

func keyOf(kind Kind, generation uint64, s [keySize]byte) Key {
	k := Key{ID{Kind: kind, Generation: generation}, s}
	context := presentation.AppendU64([]byte{byte(kind)}, generation)
	copy(k.id.Commitment[:], derive(s[:], labelCommit, context, sha256.Size))
	return k
}

// derive is HKDF-Expand with an info of {opaque label<V>; opaque context<V>}. Secrets are
// uniform already.
func derive(secret []byte, label string, context []byte, n int) []byte {
	info := presentation.AppendOpaque(presentation.AppendOpaque(nil, []byte(label)), context)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic("pseudonym: HKDF-Expand: " + err.Error()) // n is small
	}
	return out
}

// aead is AES-256-GCM under a key for one binding, so that what two leaves seal never has
// a key in common.
func (k Key) aead(about []byte) cipher.AEAD {
	block, err := aes.NewCipher(derive(k.secret[:], labelLink, about, keySize))
	if err != nil {
		panic("pseudonym: " + err.Error()) // the key has a right size
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic("pseudonym: " + err.Error())
	}
	return a
}
