package mls

import (
	"fmt"
	"io"
)

// secret is key material. It prints as a placeholder under every verb.
//
// fmt does not call methods of unexported struct fields, so each exported type
// that holds secrets redacts itself too; TestSecretsNeverPrint finds those
// that do not.
type secret []byte

const redacted = "[secret]"

// Format implements fmt.Formatter.
func (secret) Format(s fmt.State, _ rune) { io.WriteString(s, redacted) }

// wipe overwrites the secret. Go may have copied the bytes elsewhere, so this
// narrows the time a deleted key stays in memory and promises no more.
func (s secret) wipe() { clear(s) }

func (s secret) clone() secret { return append(secret(nil), s...) }

// redact writes a type's name where its value holds secrets.
func redact(s fmt.State, name string) { fmt.Fprintf(s, "%s%s", name, redacted) }
