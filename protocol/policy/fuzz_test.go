package policy_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/mimid/mimid/protocol/policy"
)

// FuzzRoles: whatever bytes come, a set of roles that is read is written as it was read,
// and answers every question without a panic.
func FuzzRoles(f *testing.F) {
	f.Add(policy.Basic().Append(nil))
	f.Add(policy.Channel().Append(nil))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := policy.ParseRoles(b)
		if err != nil {
			if !errors.Is(err, policy.ErrRoles) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(r.Append(nil), b) {
			t.Fatal("another encoding")
		}
		for _, d := range r.All() {
			for x := range policy.Role(6) {
				for y := range policy.Role(6) {
					r.SetRole(d.Index, false, x, y)
					r.SetRole(d.Index, true, x, y)
				}
				r.AddClient(d.Index, false, x)
				r.RemoveClient(d.Index, false, x)
			}
			if n, err := r.Newcomer(d.Index); err == nil && !r.Active(n) {
				t.Fatalf("newcomers of %d", d.Index)
			}
		}
		if r.Top() != policy.None && !r.Active(r.Top()) {
			t.Fatal("top")
		}
	})
}
