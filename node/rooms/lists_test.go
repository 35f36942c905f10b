package rooms_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/uri"
)

// TestLists: long lists are looked through in another way than short ones, with the same
// outcome, in the order of the first.
func TestLists(t *testing.T) {
	var all []uri.User
	for i := range 60 {
		all = append(all, must(uri.ParseShort(fmt.Sprintf("u%d@atlanta.example", i)))(t))
	}
	rapid.Check(t, func(t *rapid.T) {
		of := func(name string) []int {
			return rapid.SliceOfNDistinct(rapid.IntRange(0, 59), 0, 40, rapid.ID[int]).Draw(t, name)
		}
		a, b := of("a"), of("b")
		var want []int
		for _, x := range a {
			if !slices.Contains(b, x) {
				want = append(want, x)
			}
		}
		if got := rooms.Without(a, b); !slices.Equal(got, want) {
			t.Fatalf("%v without %v is %v", a, b, got)
		}
		users := func(list []int) (out []uri.User) {
			for _, i := range list {
				out = append(out, all[i])
			}
			return out
		}
		if got := rooms.Union(users(b), users(a)); !slices.Equal(got, users(append(slices.Clone(b), want...))) {
			t.Fatalf("%v and %v are %v", b, a, got)
		}
	})
}
