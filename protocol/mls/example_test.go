package mls_test

import (
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/mls"
)

// A server follows a group that it cannot read: alice creates it and adds bob,
// and sends him a message.
func Example() {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cfg := mls.Config{Authenticator: mls.AcceptBasic{}} // real providers use x509auth
	leaf := func(name string) mls.LeafParams {
		key, err := mls.GenerateSignatureKey(mls.X25519AES128Ed25519)
		ok(err)
		return mls.LeafParams{Suite: mls.X25519AES128Ed25519, Signer: key,
			Credential: mls.BasicCredential([]byte(name)), Lifetime: mls.LifetimeOf(at, 90*24*time.Hour)}
	}

	alice, err := mls.CreateGroup(mls.GroupParams{LeafParams: leaf("alice")}, cfg)
	ok(err)
	info, err := alice.GroupInfo(true)
	ok(err)
	server, err := mls.NewPublicGroup(info, nil, cfg, at)
	ok(err)

	// Bob has published a KeyPackage; alice checks it and stages a commit.
	bobsKeys, err := mls.NewKeyPackage(leaf("bob"), false, nil)
	ok(err)
	valid, err := bobsKeys.KeyPackage().Verify(cfg, at)
	ok(err)
	staged, err := alice.Commit(mls.CommitOptions{Add: []*mls.ValidKeyPackage{valid}}, at)
	ok(err)

	// The server verifies it before anything changes, and may still say no.
	change, err := server.Process(staged.Message.Public, staged.GroupInfo, at)
	ok(err)
	for _, m := range change.Added {
		fmt.Printf("server: leaf %d is to be %s\n", m.Leaf, m.Node.Credential.Identity)
	}
	ok(server.Apply(change))
	ok(alice.Merge(staged))

	bob, err := mls.JoinWelcome(staged.Welcome, bobsKeys, mls.JoinOptions{Tree: server.Tree()}, cfg, at)
	ok(err)
	msg, err := alice.Encrypt([]byte("hello"), mls.SendOptions{PadTo: 256})
	ok(err)
	got, err := bob.Process(msg, at)
	ok(err)
	fmt.Printf("bob: %s says %q in epoch %d\n", got.Leaf.Credential.Identity, got.Data, got.Epoch)
	// Output:
	// server: leaf 1 is to be bob
	// bob: alice says "hello" in epoch 1
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}
