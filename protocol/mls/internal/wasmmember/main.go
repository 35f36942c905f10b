// Command wasmmember is a group member for the browser's platform: it creates a
// group, lets a second member join by Welcome, sends it a message, stores and
// loads its state. It exists to be built with
// GOOS=js GOARCH=wasm, to show that the engine's member half runs there and how
// large it is; .ci/run builds it and runs it under Node.
package main

import (
	"fmt"
	"maps"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

func main() {
	// A fixed time: what judges credentials is an argument, and protocol code
	// has no clock.
	now := time.Unix(1_700_000_000, 0)
	cfg := mls.Config{Authenticator: mls.AcceptBasic{}}
	alice, err := mls.CreateGroup(mls.GroupParams{LeafParams: leaf("alice", now)}, cfg)
	check(err)
	kp, err := mls.NewKeyPackage(leaf("bob", now), false, nil)
	check(err)
	valid, err := kp.KeyPackage().Verify(cfg, now)
	check(err)
	staged, err := alice.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{valid}, TreeInWelcome: true}, now)
	check(err)
	check(alice.Merge(staged))
	bob, err := mls.JoinWelcome(staged.Welcome, kp, mls.JoinOptions{}, cfg, now)
	check(err)
	stored := map[string][]byte{}
	for _, p := range bob.Unsaved() {
		stored[p.Key] = p.Value
	}
	bob, err = mls.LoadGroup(maps.All(stored), cfg)
	check(err)
	msg, err := alice.Encrypt([]byte("hello from wasm"), mls.SendOptions{})
	check(err)
	got, err := bob.Process(msg, now)
	check(err)
	fmt.Printf("%s: %q, %d bytes on the wire, epoch %d, %d stored parts\n",
		got.Leaf.Credential.Identity, got.Data, len(msg.Bytes()), got.Epoch, len(stored))
}

func leaf(name string, now time.Time) mls.LeafParams {
	key, err := mls.GenerateSignatureKey(mls.X25519AES128Ed25519)
	check(err)
	return mls.LeafParams{Suite: mls.X25519AES128Ed25519, Signer: key,
		Credential: mls.BasicCredential([]byte(name)), Lifetime: mls.LifetimeOf(now, 24*time.Hour)}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
