package pseudonym

import (
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/uri"
)

// Authenticator is an mls.Authenticator for groups whose leaves are all pseudonymous. It
// knows nobody: that a credential is well made and its leaf's is all that who is no member
// can see. Members name the leaves with a Room.
type Authenticator struct {
	// Senders judges external senders, which are servers and have names. Required.
	Senders mls.Authenticator
}

// Authenticate implements mls.Authenticator.
func (Authenticator) Authenticate(c mls.Credential, signatureKey []byte, _ time.Time) error {
	_, err := Of(c, signatureKey)
	return err
}

// AuthenticateSender implements mls.Authenticator.
func (a Authenticator) AuthenticateSender(c mls.Credential, signatureKey []byte, now time.Time) error {
	return a.Senders.AuthenticateSender(c, signatureKey, now)
}

// Succeeds implements mls.Authenticator: the pseudonyms stay.
func (Authenticator) Succeeds(old, new mls.Credential) error {
	if old.Type != CredentialType || new.Type != CredentialType {
		return fmt.Errorf("credential type %d after %d: %w", new.Type, old.Type, ErrNotPseudonymous)
	}
	a, err := parseCredential(old.Identity)
	if err != nil {
		return err
	}
	b, err := parseCredential(new.Identity)
	if err != nil {
		return err
	}
	return b.Succeeds(a)
}

// Capabilities are those of a client that can be in such a group.
func Capabilities() mls.Capabilities {
	c := mls.DefaultCapabilities()
	c.Credentials = append(slices.Clone(c.Credentials), CredentialType)
	return c
}

// Export is what a generation's key is made of, if the group's present epoch begins one.
func Export(g *mls.Group, room uri.Room) ([]byte, error) {
	b, err := g.Export(ExportLabel, []byte(room.String()), ExportSize)
	if err != nil {
		return nil, fmt.Errorf("exporting the room identity key of epoch %d: %w", g.Epoch(), err)
	}
	return b, nil
}

// CommitOf is what a commit does that the group has just merged, before any other.
func CommitOf(g *mls.Group, room uri.Room, c *mls.Change) (*Commit, error) {
	out := &Commit{Epoch: g.Epoch()}
	if c.Context == nil || c.Context.Epoch != out.Epoch {
		return nil, fmt.Errorf("in epoch %d, and not in the one that the commit begins: %w", out.Epoch, ErrMalformed)
	}
	for _, m := range c.Removed {
		out.Removed = append(out.Removed, m.Leaf)
	}
	for _, m := range c.Updated {
		out.Leaves = append(out.Leaves, leafOf(m.Leaf, m.New))
	}
	for _, m := range c.Added {
		out.Leaves = append(out.Leaves, leafOf(m.Leaf, m.Node))
	}
	if out.Rotates() {
		var err error
		if out.Exported, err = Export(g, room); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// LeavesOf are all leaves of a group.
func LeavesOf(g *mls.PublicGroup) (out []Leaf) {
	for m := range g.Members() {
		out = append(out, leafOf(m.Leaf, m.Node))
	}
	return out
}

func leafOf(i mls.LeafIndex, n *mls.LeafNode) Leaf {
	return Leaf{Index: i, Credential: n.Credential, SignatureKey: n.SignatureKey}
}
