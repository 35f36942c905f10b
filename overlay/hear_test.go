package overlay_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/overlay"
)

// Hear takes a record that has expired, since it is for providers that are gone, and
// nothing that is of another name, damaged, or of the future. What it takes is told on.
func TestHear(t *testing.T) {
	seal := func(change func(*overlay.Record)) []byte {
		r := sample()
		change(r)
		env, err := overlay.SealRecord(r, key("provider"))
		if err != nil {
			t.Fatal(err)
		}
		return env
	}
	month := 30 * 24 * time.Hour
	gone := seal(func(r *overlay.Record) { r.Seq, r.Expires = r.Seq-uint64(month.Milliseconds()), r.Expires.Add(-month) })
	damaged := bytes.Clone(gone)
	damaged[len(damaged)-1] ^= 1
	for _, c := range []struct {
		why      string
		domain   string
		envelope []byte
		want     error
	}{
		{"gone for a month", "biloxi.example", gone, nil},
		{"another spelling of the name", "Biloxi.example", gone, nil},
		{"valid still", "biloxi.example", seal(func(*overlay.Record) {}), nil},
		{"of another name", "chicago.example", gone, overlay.ErrRecord},
		{"no name", "bil oxi", gone, overlay.ErrName},
		{"damaged", "biloxi.example", damaged, overlay.ErrRecord},
		{"nothing", "biloxi.example", nil, overlay.ErrRecord},
		{"too long", "biloxi.example", make([]byte, overlay.MaxRecord+1), overlay.ErrRecord},
		{"numbered in the future", "biloxi.example", seal(func(r *overlay.Record) { r.Seq += uint64(time.Hour.Milliseconds()) }), overlay.ErrRecord},
		{"valid for too long", "biloxi.example", seal(func(r *overlay.Record) { r.Expires = r.Expires.Add(month) }), overlay.ErrRecord},
	} {
		t.Run(c.why, func(t *testing.T) {
			o, err := overlay.New(config("hub.example"))
			if err != nil {
				t.Fatal(err)
			}
			if err := o.Hear(t.Context(), c.domain, c.envelope); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			keys, env := o.Keys("biloxi.example"), o.Envelope("biloxi.example")
			if c.want != nil {
				if keys != nil || env != nil {
					t.Errorf("took the key all the same")
				}
				return
			}
			if len(keys) != 2 || !keys[1].Equal(pub(key("provider"))) || !bytes.Equal(env, c.envelope) {
				t.Errorf("keys %x, envelope %x", keys, env)
			}
			if i := info(t, o, "biloxi.example"); i.Trust != overlay.Told {
				t.Errorf("trusted by %s", i.Trust)
			}
			if _, err := o.Resolve(t.Context(), "biloxi.example"); c.envelope != nil && bytes.Equal(c.envelope, gone) && !errors.Is(err, overlay.ErrExpired) {
				t.Errorf("an expired record was resolved: %v", err)
			}
		})
	}
}
