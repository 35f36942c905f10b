package client_test

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/protocol/clientapi"
)

// TestRecruitByAnotherKey: a provider that the own one presents as a recruit, with a key by
// which it is not known, is not named; and nobody is told of a recruit where there is none.
func TestRecruitByAnotherKey(t *testing.T) {
	f := newFake(t)
	alice, bob := f.person("alice", "atlanta.example"), f.person("bob", "biloxi.example")
	u := alice.create("room")
	alice.add(u, bob)
	f.mu.Lock()
	f.recruit = &clientapi.Recruit{Provider: "chicago.example", Key: f.keys["biloxi.example"].Public().(ed25519.PublicKey),
		FrankingKey: make([]byte, 32), Until: time.Now().Add(time.Hour).UnixMilli()}
	f.mu.Unlock()
	if _, err := alice.c.Recruit(ctx10(t), u); !errors.Is(err, client.ErrProviderKey) {
		t.Errorf("recruited by a key of another: %v", err)
	}
	for _, p := range []*person{alice, bob} {
		eventually(t, p.name+" knows that it is allowed", func() bool {
			x, err := p.c.Outside(ctx10(t), u)
			return err == nil && x == client.Outside{Allowed: true}
		})
		for more := true; more; {
			select {
			case n := <-p.c.Events():
				p.seen = append(p.seen, n)
			default:
				more = false
			}
		}
		for _, n := range p.seen {
			if x, ok := n.(client.RecruitChanged); ok {
				t.Errorf("%s is told %+v", p.name, x)
			}
		}
	}
}
