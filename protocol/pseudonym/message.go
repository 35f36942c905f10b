package pseudonym

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// MaxKeys is how many keys one message carries, or asks for, at most.
const MaxKeys = 64

const messageVersion = 1

// MaxMessage bounds an encoded Keys or Request, in octets: a secret is as long as a
// commitment.
const MaxMessage = 8 + (1+MaxKeys)*idSize

// Keys are keys that a member tells others: in the Welcome's GroupInfo to those whom it
// adds, and in application messages. Both are for members only.
//
//	struct {
//	    uint8 kind;
//	    uint64 generation;
//	    opaque secret[32];
//	} IdentityKey;
//
//	struct {
//	    uint8 version = 1;
//	    uint8 present;             /* unknown(0), told(1), begins(2) */
//	    select (present) { case told: IdentityKey present_key; };
//	    IdentityKey others<V>;     /* at most 64, in the order of their KeyIDs */
//	} IdentityKeys;
//
// The commitments are not sent: they are computed, so a key is always its name's.
type Keys struct {
	// Present is the key of the present generation in the epoch in which this is said; the
	// zero Key for who does not know it.
	Present Key
	// Begins is for a Welcome to an epoch whose commit removed somebody as well: it begins a
	// generation, which the newcomer exports itself (Enter). The one that was present before
	// must not be taken for it.
	Begins bool
	// Others name members, at most MaxKeys.
	Others []Key
}

// What is said of the present generation.
const (
	presentUnknown = iota
	presentTold
	presentBegins
)

// Format implements fmt.Formatter; it prints no key.
func (k Keys) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "pseudonym.Keys(%d)", len(k.Others)) }

// Bytes is the keys as they are written, which is secret.
func (k Keys) Bytes() []byte {
	b := []byte{messageVersion, presentUnknown}
	switch {
	case k.Begins:
		b[1] = presentBegins
	case k.Present.id.Kind == KindRoom:
		b[1] = presentTold
		b = k.Present.append(b)
	}
	others := slices.SortedFunc(slices.Values(k.Others), func(a, b Key) int { return a.id.compare(b.id) })
	return presentation.AppendList(b, func(b []byte) []byte {
		for _, x := range others {
			b = x.append(b)
		}
		return b
	})
}

func (k Key) append(b []byte) []byte {
	b = presentation.AppendU64(append(b, byte(k.id.Kind)), k.id.Generation)
	return append(b, k.secret[:]...)
}

func readKey(r *presentation.Reader) Key {
	kind, generation := readKind(r)
	secret := r.Fixed(keySize)
	if r.Err() != nil {
		return Key{}
	}
	return keyOf(kind, generation, [keySize]byte(secret))
}

// ParseKeys reads keys. Error: ErrMalformed.
func ParseKeys(b []byte) (*Keys, error) {
	k := new(Keys)
	err := parse(b, "identity keys", func(r *presentation.Reader) {
		switch p := r.U8(); p {
		case presentUnknown:
		case presentBegins:
			k.Begins = true
		case presentTold:
			if k.Present = readKey(r); r.Err() == nil && k.Present.id.Kind != KindRoom {
				r.Fail(ErrMalformed, "a present generation that is none")
			}
		default:
			r.Fail(ErrMalformed, "present generation %d", p)
		}
		r.List(MaxKeys, func() {
			x := readKey(r)
			if n := len(k.Others); r.Err() == nil && n > 0 && k.Others[n-1].id.compare(x.id) >= 0 {
				r.Fail(ErrMalformed, "keys that are not in their order")
			}
			k.Others = append(k.Others, x)
		})
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// WelcomeExtension is where a Welcome's GroupInfo has the keys; from the private range.
const WelcomeExtension mls.ExtensionType = 0xf002

// Extension is the keys as an extension of the Welcome's GroupInfo, and of no other: it
// goes into mls.CommitOptions.WelcomeExtensions.
func (k Keys) Extension() mls.Extension {
	return mls.Extension{Type: WelcomeExtension, Data: k.Bytes()}
}

// KeysIn reads the keys among a GroupInfo's extensions. Error: ErrMalformed, also when
// there are none: who adds somebody to a pseudonymous room tells something.
func KeysIn(ext mls.Extensions) (*Keys, error) {
	b, ok := ext.Get(WelcomeExtension)
	if !ok {
		return nil, fmt.Errorf("a Welcome without identity keys: %w", ErrMalformed)
	}
	return ParseKeys(b)
}

// Request asks members for keys.
//
//	struct {
//	    uint8 version = 1;
//	    KeyID wanted<V>;           /* at most 64, in order */
//	} IdentityKeysRequest;
type Request []ID

// Bytes is the request as it is written. It has to be of at most MaxKeys.
func (q Request) Bytes() []byte {
	q = slices.Clone(q)
	slices.SortFunc(q, ID.compare)
	return presentation.AppendList([]byte{messageVersion}, func(b []byte) []byte {
		for _, id := range q {
			b = id.append(b)
		}
		return b
	})
}

// ParseRequest reads a request. Error: ErrMalformed.
func ParseRequest(b []byte) (Request, error) {
	q := Request{}
	err := parse(b, "request for identity keys", func(r *presentation.Reader) {
		r.List(MaxKeys, func() {
			var id ID
			id.read(r)
			if n := len(q); r.Err() == nil && n > 0 && q[n-1].compare(id) >= 0 {
				r.Fail(ErrMalformed, "keys that are not in their order")
			}
			q = append(q, id)
		})
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// What members tell each other stands in application messages, and is no content that people
// see:
//
//	struct {
//	    uint8 mark = 0xff;         /* with which no content begins: in CBOR it begins nothing */
//	    uint8 what;                /* told(1), asked(2) */
//	    select (what) {
//	        case told:  uint64 epoch; IdentityKeys keys;
//	        case asked: IdentityKeysRequest request;
//	    };
//	} IdentityMessage;
//
// The epoch is the one in which the keys were put together. A message may be sent again in a
// later one, in which another generation is the present one.
const (
	mark     = 0xff
	markTold = 1
	markAsk  = 2
)

// IsTold says whether an application message is one of these.
func IsTold(b []byte) bool { return len(b) > 0 && b[0] == mark }

// Tell is keys as an application message, put together in an epoch. It is secret.
func Tell(epoch uint64, k *Keys) []byte {
	return append(presentation.AppendU64([]byte{mark, markTold}, epoch), k.Bytes()...)
}

// Ask is a request as an application message.
func Ask(q Request) []byte { return append([]byte{mark, markAsk}, q.Bytes()...) }

// ParseTold reads such a message: keys and their epoch, or if there are none a request. since
// is the epoch from which on the reader has followed the room: of one before that it cannot
// know whether the present generation is it still, so it is one of the others. Error:
// ErrMalformed.
func ParseTold(b []byte, since uint64) (*Keys, Request, error) {
	if len(b) < 2 || !IsTold(b) {
		return nil, nil, fmt.Errorf("identity message of %d octets: %w", len(b), ErrMalformed)
	}
	what, b := b[1], b[2:]
	switch {
	case what == markTold && len(b) >= 8:
		k, err := ParseKeys(b[8:])
		if err == nil && k.Begins {
			err = fmt.Errorf("a generation that begins, in a message: %w", ErrMalformed)
		}
		if err != nil {
			return nil, nil, err
		}
		if presentation.NewReader(b).U64() < since && k.Present.id.Kind != 0 {
			k.Others, k.Present = append(k.Others, k.Present), Key{}
		}
		return k, nil, nil
	case what == markAsk:
		q, err := ParseRequest(b)
		return nil, q, err
	}
	return nil, nil, fmt.Errorf("identity message %d: %w", what, ErrMalformed)
}

func parse(b []byte, what string, read func(*presentation.Reader)) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("%s of %d octets, at most %d: %w", what, len(b), MaxMessage, ErrMalformed)
	}
	r := presentation.NewReader(b)
	if v := r.U8(); v != messageVersion {
		r.Fail(ErrMalformed, "version %d", v)
	}
	read(r)
	if err := r.Done(); err != nil {
		return fmt.Errorf("reading %s: %w: %w", what, ErrMalformed, err)
	}
	return nil
}
