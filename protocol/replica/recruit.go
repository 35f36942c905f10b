package replica

import (
	"crypto/ed25519"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
)

// MaxRecruit bounds an encoded RecruitAsk and RecruitAnswer, in bytes.
const MaxRecruit = 1 << 10

// maxWhy bounds the reason of a refusal, in bytes.
const maxWhy = 512

// RecruitAsk asks a provider whether it would be a replica of a room in which none of its
// users takes part. Who asks is who sent the request.
//
//	struct {
//	    uint8 version = 1;
//	    opaque room_id[32];
//	} RecruitAsk;
type RecruitAsk struct {
	Room room.ID
}

// RecruitAnswer is what the provider says.
//
//	struct {
//	    uint8 version = 1;
//	    uint8 willing;            /* no(0), yes(1) */
//	    select (willing) {
//	        case no:
//	            opaque why<V>;    /* UTF-8 for people, at most 512 bytes */
//	        case yes:
//	            uint64 until;     /* ms since 1970: named before that, it follows the room */
//	            opaque provider_key[32];
//	            opaque franking_key<V>;   /* 32 or 65 bytes */
//	    };
//	} RecruitAnswer;
type RecruitAnswer struct {
	Willing     bool
	Why         string    // of a refusal
	Until       time.Time // whole milliseconds; of a promise, as what follows
	ProviderKey [ed25519.PublicKeySize]byte
	FrankingKey []byte
}

const recruitVersion = 1

func readRecruitVersion(r *presentation.Reader, what string) {
	if v := r.U8(); v != recruitVersion && r.Err() == nil {
		r.Fail(presentation.ErrMalformed, "%s of version %d", what, v)
	}
}

// Append appends the encoding.
func (a *RecruitAsk) Append(b []byte) []byte { return append(append(b, recruitVersion), a.Room[:]...) }

// ParseRecruitAsk reads what Append has written.
func ParseRecruitAsk(b []byte) (*RecruitAsk, error) {
	a := new(RecruitAsk)
	r := presentation.NewReader(b)
	readRecruitVersion(r, "recruit_ask")
	copy(a.Room[:], r.Fixed(len(a.Room)))
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading whether a room asks for a replica: %w", err)
	}
	return a, nil
}

// Append appends the encoding.
func (a *RecruitAnswer) Append(b []byte) []byte {
	b = presentation.AppendOptional(append(b, recruitVersion), a.Willing)
	if !a.Willing {
		return presentation.AppendOpaque(b, []byte(a.Why))
	}
	b = presentation.AppendU64(b, uint64(max(0, a.Until.UnixMilli())))
	return presentation.AppendOpaque(append(b, a.ProviderKey[:]...), a.FrankingKey)
}

// ParseRecruitAnswer reads what Append has written. Errors: ErrMessage, and those of
// presentation.
func ParseRecruitAnswer(b []byte) (*RecruitAnswer, error) {
	a := new(RecruitAnswer)
	r := presentation.NewReader(b)
	readRecruitVersion(r, "recruit_answer")
	var until uint64
	if a.Willing = r.Optional(); a.Willing {
		until = r.U64()
		copy(a.ProviderKey[:], r.Fixed(len(a.ProviderKey)))
		key := r.Opaque()
		if n := len(key); r.Err() == nil && n != 32 && n != 65 {
			return nil, fmt.Errorf("a recruit's franking key of %d bytes: %w", n, ErrMessage)
		}
		a.FrankingKey = append([]byte(nil), key...)
	} else {
		why := r.Opaque()
		if r.Err() == nil && (len(why) > maxWhy || !utf8.Valid(why)) {
			return nil, fmt.Errorf("a reason of %d bytes, which is too long or no UTF-8: %w", len(why), ErrMessage)
		}
		a.Why = string(why)
	}
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading a recruit's answer: %w", err)
	}
	if until > 1<<48 {
		return nil, fmt.Errorf("a promise until %d ms after 1970: %w", until, ErrMessage)
	}
	if a.Willing {
		a.Until = time.UnixMilli(int64(until))
	}
	return a, nil
}
