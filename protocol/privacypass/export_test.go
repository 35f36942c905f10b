package privacypass

import "io"

// AskWith is Ask with a nonce, and salt and blind from a reader.
func AskWith(k *Key, c *Challenge, nonce [32]byte, random io.Reader) ([]byte, *Pending, error) {
	return ask(k, c, nonce, random)
}

// Input is what is signed.
func (t *Token) Input() []byte { return t.input() }
