package mls

import (
	"bytes"
	"fmt"

	"github.com/mimid/mimid/protocol/presentation"
)

// reader is a presentation.Reader that knows the limits in force. Each
// structure has a method read that takes one, beside its layout.
type reader struct {
	*presentation.Reader
	lim *Limits
}

func newReader(b []byte, lim *Limits) *reader {
	return &reader{presentation.NewReader(b), lim}
}

// parse runs read over a private copy of b, which must be consumed whole.
// what names the value in errors.
func parse(b []byte, lim Limits, what string, read func(*reader)) error {
	lim = lim.withDefaults()
	if len(b) > lim.MessageSize {
		return fmt.Errorf("reading %s of %d bytes (limit %d): %w", what, len(b), lim.MessageSize, ErrTooLarge)
	}
	r := newReader(bytes.Clone(b), &lim)
	read(r)
	if err := r.Done(); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

func readU16s[T ~uint16](r *reader) []T {
	out := []T{}
	r.List(r.lim.ListEntries, func() { out = append(out, T(r.U16())) })
	return out
}

func appendU16(b []byte, v uint16) []byte    { return presentation.AppendU16(b, v) }
func appendU32(b []byte, v uint32) []byte    { return presentation.AppendU32(b, v) }
func appendU64(b []byte, v uint64) []byte    { return presentation.AppendU64(b, v) }
func appendVarint(b []byte, n int) []byte    { return presentation.AppendLength(b, n) }
func appendOpaque(b, data []byte) []byte     { return presentation.AppendOpaque(b, data) }
func appendOptional(b []byte, p bool) []byte { return presentation.AppendOptional(b, p) }

func appendList(b []byte, body func([]byte) []byte) []byte {
	return presentation.AppendList(b, body)
}

func appendU16s[T ~uint16](b []byte, vs []T) []byte {
	b = appendVarint(b, 2*len(vs))
	for _, v := range vs {
		b = appendU16(b, uint16(v))
	}
	return b
}
