package account_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"strings"
	"testing"
)

// TestNothingToSteal: whoever reads the store, or a backup of it, can neither act as a
// device nor register with an invite: tokens and codes are there as hashes only.
func TestNothingToSteal(t *testing.T) {
	w := newWorld(t)
	code := w.invite("alice")
	user := userKey(t)
	acc, err := w.Register(ctx, registration(code, "phone", user))
	must(t, err)
	d := w.device(acc, user)
	open := w.invite("bob") // not used yet
	again := w.register("carol", "phone", userKey(t))
	if again.token == d.token || open == code {
		t.Error("a token or a code was given twice")
	}
	var all bytes.Buffer
	_, err = w.store.Backup(ctx, &all, nil, nil)
	must(t, err)
	if !bytes.Contains(all.Bytes(), []byte("alice")) {
		t.Fatal("nothing can be read in a backup this way")
	}
	for _, token := range []string{d.token, again.token} {
		_, text, _ := strings.Cut(token, "_")
		raw, err := base64.RawURLEncoding.DecodeString(text)
		must(t, err)
		if len(raw) < 32 || bytes.Contains(all.Bytes(), raw) || bytes.Contains(all.Bytes(), []byte(text)) {
			t.Errorf("a token of %d octets lies in the store", len(raw))
		}
	}
	for _, c := range []string{code, open} {
		raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(c))
		if err == nil && bytes.Contains(all.Bytes(), raw) || bytes.Contains(all.Bytes(), []byte(c)) {
			t.Error("an invite's code lies in the store")
		}
	}
}
