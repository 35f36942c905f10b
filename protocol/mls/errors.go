package mls

import (
	"errors"

	"github.com/mimid/mimid/protocol/presentation"
)

// Errors are sentinels: test with errors.Is. The text around them names the
// value that was wrong, never a secret. Whatever the error, nothing has
// changed in the group that returned it.
var (
	// ErrTruncated: the input ends inside a value, or a length prefix claims
	// more bytes than there are.
	ErrTruncated = presentation.ErrTruncated
	// ErrTrailing: bytes follow a complete value.
	ErrTrailing = presentation.ErrTrailing
	// ErrNonCanonical: the value has another, shorter or ordered encoding,
	// which is the only one accepted: a length in a longer form than needed, a
	// presence octet other than 0 or 1, a list out of order, a ratchet tree
	// that ends in a blank node.
	ErrNonCanonical = presentation.ErrNonCanonical
	// ErrMalformed: a field holds a value that its type does not have, or a
	// combination that the RFC rules out whatever the group's state.
	ErrMalformed = presentation.ErrMalformed
	// ErrTooLarge: a limit of Limits is exceeded. Raise the limit where the
	// input is legitimate.
	ErrTooLarge = presentation.ErrTooLarge
	// ErrUnsupported: a version, cipher suite, wire format or extension that
	// this engine does not implement, or that the group does not use.
	ErrUnsupported = errors.New("mls: not supported")

	// ErrWrongGroup: the message names another group id.
	ErrWrongGroup = errors.New("mls: message for another group")
	// ErrWrongEpoch: a handshake message for a past or future epoch, or an
	// application message of an epoch whose keys are not held. A client that
	// sees a future epoch has missed a commit.
	ErrWrongEpoch = errors.New("mls: message for another epoch")
	// ErrUnknownSender: the sender is no member, external sender or joiner
	// that this group could know.
	ErrUnknownSender = errors.New("mls: unknown sender")
	// ErrReplayed: the message's key was used already, so this is a copy of a
	// message that was read before, or its key was dropped with the window of
	// skipped keys.
	ErrReplayed = errors.New("mls: message replayed or too old")
	// ErrTooFarAhead: the message's generation is further ahead than
	// Limits.ForwardGenerations.
	ErrTooFarAhead = errors.New("mls: generation too far ahead")
	// ErrOwnMessage: the message was sent by this member. Its plaintext is in
	// the sender's outbox, its key is deleted.
	ErrOwnMessage = errors.New("mls: own message")

	// ErrBadSignature: a signature does not verify, or its key is unusable.
	ErrBadSignature = errors.New("mls: signature does not verify")
	// ErrBadMAC: a membership or confirmation tag does not verify.
	ErrBadMAC = errors.New("mls: authentication tag does not verify")
	// ErrDecrypt: an AEAD or HPKE ciphertext does not open.
	ErrDecrypt = errors.New("mls: ciphertext does not open")
	// ErrBadCredential: the Authenticator refused a credential, a credential
	// does not belong to its signature key, or a member tried to become
	// somebody else.
	ErrBadCredential = errors.New("mls: credential refused")
	// ErrExpired: a KeyPackage's lifetime does not contain the given time.
	ErrExpired = errors.New("mls: outside its lifetime")
	// ErrCapabilities: a leaf lacks a capability that the group requires, or
	// a change needs one that some member lacks.
	ErrCapabilities = errors.New("mls: capability missing")
	// ErrDuplicateKey: a public key that is already in the ratchet tree.
	ErrDuplicateKey = errors.New("mls: public key already in the tree")
	// ErrBadTree: a ratchet tree fails a check of RFC 9420 section 12.4.3.1:
	// tree hash, parent hashes, unmerged leaves, leaf positions.
	ErrBadTree = errors.New("mls: invalid ratchet tree")
	// ErrBadLeaf: a leaf node is not valid at its place (RFC 9420 section 7.3).
	ErrBadLeaf = errors.New("mls: invalid leaf node")
	// ErrBadProposal: a proposal is not valid in this group (section 12.1).
	ErrBadProposal = errors.New("mls: invalid proposal")
	// ErrProposalList: a commit's proposals are valid singly but not together
	// (section 12.2), or not allowed in that kind of commit.
	ErrProposalList = errors.New("mls: invalid proposal list")
	// ErrUnknownProposal: a commit references a proposal that was not received.
	ErrUnknownProposal = errors.New("mls: unknown proposal reference")
	// ErrBadPath: an UpdatePath is missing, has the wrong shape, or does not
	// produce the keys it announces.
	ErrBadPath = errors.New("mls: invalid update path")
	// ErrBadGroupInfo: the GroupInfo of a commit or Welcome differs from the
	// state that it should describe.
	ErrBadGroupInfo = errors.New("mls: GroupInfo does not match")
	// ErrUnknownPSK: a pre-shared key that this member does not hold.
	ErrUnknownPSK = errors.New("mls: unknown pre-shared key")
	// ErrNoKeyPackage: a Welcome has no entry for the given KeyPackage.
	ErrNoKeyPackage = errors.New("mls: Welcome is not for this KeyPackage")
	// ErrStale: a change or staged commit was computed for another state of
	// the group than the present one; compute it anew.
	ErrStale = errors.New("mls: computed for another state of the group")
	// ErrRemoved: this member was removed from the group, or the group was
	// closed by a ReInit; no further operation is possible.
	ErrRemoved = errors.New("mls: no longer a member of an open group")
	// ErrState: a stored state does not decode or contradicts itself.
	ErrState = errors.New("mls: stored state is damaged")
)

// ProposalError says that a proposal is not valid, by itself or beside the others of its
// commit, whoever may make such ones. What was wrong is inside: errors.Is sees it.
type ProposalError struct {
	// Ref is the ProposalRef; nil for one that stands in a commit by value, and where the
	// proposals of a commit do not go together.
	Ref []byte
	Err error
}

func (e *ProposalError) Error() string { return e.Err.Error() }

// Unwrap returns what was wrong.
func (e *ProposalError) Unwrap() error { return e.Err }

// invalid marks what is wrong with a proposal; nil stays nil.
func invalid(ref []byte, err error) error {
	if err == nil {
		return nil
	}
	return &ProposalError{ref, err}
}
