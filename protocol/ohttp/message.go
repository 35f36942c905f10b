package ohttp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

const (
	requestLabel  = "message/bhttp request"
	responseLabel = "message/bhttp response"
	tagSize       = 16

	// Overhead is by how much an encapsulated request is longer than what is in it.
	Overhead = headerSize + publicKeySize + tagSize
	// AnswerOverhead is the same of an answer.
	AnswerOverhead = nonceSize + tagSize
)

// header is what the key and the algorithms of a request are told by, section 4.3.
func header(id uint8) []byte {
	b := presentation.AppendU16([]byte{id}, kemX25519)
	b = presentation.AppendU16(b, kdfSHA256)
	return presentation.AppendU16(b, aeadAES128)
}

// info is what HPKE binds a request to: its purpose and header.
func info(head []byte) []byte { return append([]byte(requestLabel+"\x00"), head...) }

// Asked is what opens the answer to a request, at the one who asked.
type Asked struct {
	enc    []byte
	sender *hpke.Sender
}

// Format keeps what it holds out of logs.
func (a *Asked) Format(f fmt.State, _ rune) { f.Write([]byte("ohttp.Asked")) }

// Seal encrypts a request in binary HTTP to a gateway (message/ohttp-req):
//
//	uint8 key_id; uint16 kem_id, kdf_id, aead_id; opaque enc[32]; opaque ciphertext[...]
func Seal(k Key, request []byte) (sealed []byte, a *Asked, err error) {
	if k.key == nil {
		return nil, nil, fmt.Errorf("%w: no key", ErrKey)
	}
	head := header(k.ID)
	enc, s, err := hpke.NewSender(k.key, hpke.HKDFSHA256(), hpke.AES128GCM(), info(head))
	if err != nil {
		return nil, nil, fmt.Errorf("encrypting a request: %w", err)
	}
	ct, err := s.Seal(nil, request)
	if err != nil {
		return nil, nil, fmt.Errorf("encrypting a request: %w", err)
	}
	return append(append(head, enc...), ct...), &Asked{enc, s}, nil
}

// Open decrypts the answer (message/ohttp-res). Error: ErrDecrypt.
func (a *Asked) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < AnswerOverhead {
		return nil, fmt.Errorf("%w: an answer of %d octets", ErrDecrypt, len(sealed))
	}
	secret, err := a.sender.Export(responseLabel, nonceSize)
	if err != nil {
		return nil, fmt.Errorf("decrypting an answer: %w", err)
	}
	aead, nonce, err := answerKey(secret, a.enc, sealed[:nonceSize])
	if err != nil {
		return nil, fmt.Errorf("decrypting an answer: %w", err)
	}
	out, err := aead.Open(nil, nonce, sealed[nonceSize:], nil)
	if err != nil {
		return nil, fmt.Errorf("%w: an answer of %d octets", ErrDecrypt, len(sealed))
	}
	return out, nil
}

// Heard is what encrypts the answer to a request, at the gateway.
type Heard struct {
	enc       []byte
	recipient *hpke.Recipient
}

// Format keeps what it holds out of logs.
func (h *Heard) Format(f fmt.State, _ rune) { f.Write([]byte("ohttp.Heard")) }

// Open decrypts a request, which one of these keys is for. Errors: ErrFormat, ErrKey (also
// for another suite, section 5.3), ErrDecrypt.
func Open(sealed []byte, keys ...PrivateKey) (request []byte, h *Heard, err error) {
	if len(sealed) < Overhead {
		return nil, nil, fmt.Errorf("%w: a request of %d octets", ErrFormat, len(sealed))
	}
	head := sealed[:headerSize:headerSize]
	enc, ct := sealed[headerSize:headerSize+publicKeySize:headerSize+publicKeySize], sealed[headerSize+publicKeySize:]
	for _, k := range keys {
		if k.key == nil || string(head) != string(header(k.ID)) {
			continue
		}
		r, err := hpke.NewRecipient(enc, k.key, hpke.HKDFSHA256(), hpke.AES128GCM(), info(head))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: a request's share: %v", ErrDecrypt, err)
		}
		request, err = r.Open(nil, ct)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: a request of %d octets for key %d", ErrDecrypt, len(sealed), k.ID)
		}
		return request, &Heard{enc, r}, nil
	}
	return nil, nil, fmt.Errorf("%w: %d, or another suite", ErrKey, sealed[0])
}

// Seal encrypts the answer in binary HTTP.
func (h *Heard) Seal(answer []byte) ([]byte, error) {
	nonce := make([]byte, nonceSize, nonceSize+len(answer)+tagSize)
	rand.Read(nonce) // never fails
	return h.seal(nonce, answer)
}

func (h *Heard) seal(nonce, answer []byte) ([]byte, error) {
	secret, err := h.recipient.Export(responseLabel, nonceSize)
	if err != nil {
		return nil, fmt.Errorf("encrypting an answer: %w", err)
	}
	aead, n, err := answerKey(secret, h.enc, nonce)
	if err != nil {
		return nil, fmt.Errorf("encrypting an answer: %w", err)
	}
	return aead.Seal(nonce, n, answer, nil), nil
}

// answerKey derives what an answer is encrypted with, section 4.4.
func answerKey(secret, enc, responseNonce []byte) (cipher.AEAD, []byte, error) {
	salt := append(append([]byte(nil), enc...), responseNonce...)
	prk, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		return nil, nil, err
	}
	key, err := hkdf.Expand(sha256.New, prk, "key", 16)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "nonce", 12)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, nonce, err
}
