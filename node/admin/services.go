package admin

import (
	"context"
	"io"

	"github.com/mimid/mimid/node/account"
)

// Services answer. Expected failures are *clientapi.Problem; any other error is shown
// to the operator as it is. Limits are between 1 and MaxPage.
type Services struct {
	Accounts Accounts
	Rooms    Rooms
	Peers    Peers
	Node     Node
	Abuse    Abuse
}

// MaxPage is the most that one answer lists.
const MaxPage = 1000

// Accounts knows users and invites; *account.Registry is one.
type Accounts interface {
	CreateInvite(ctx context.Context, n account.NewInvite) (*account.Invite, string, error)
	Invites(ctx context.Context) ([]account.Invite, error)
	RevokeInvite(ctx context.Context, id string) error
	Users(ctx context.Context, after string, limit int) ([]account.User, error)
}

// Rooms knows rooms. An id is that of a room in hexadecimal, or an unambiguous
// beginning of it.
type Rooms interface {
	ListRooms(ctx context.Context, after string, limit int) ([]Room, error)
	ShowRoom(ctx context.Context, id string) (*Room, error)
	ShowLog(ctx context.Context, id string, from uint64, limit int) (*LogPage, error)
	// ShowBranch is ShowLog of a branch that was lost by a move, by its number.
	ShowBranch(ctx context.Context, id string, branch uint32, from uint64, limit int) (*LogPage, error)
	// RejoinRoom follows a room again that was moved away from before the end of what is here.
	RejoinRoom(ctx context.Context, id string) (*Room, error)
	// MoveRoom hands a room over to another provider and returns when that orders it,
	// or ctx ends.
	MoveRoom(ctx context.Context, id, target string) (*Moved, error)
	// DrainRooms hands over every room that this provider orders, and says now and then
	// how far it is, from one goroutine at a time.
	DrainRooms(ctx context.Context, progress func(Draining)) (*Drained, error)
}

// Peers knows other providers.
type Peers interface {
	Peers(ctx context.Context) ([]Peer, error)
	Pin(ctx context.Context, domain, fingerprint string) error
	Forget(ctx context.Context, domain string) error
}

// Node is the running node itself.
type Node interface {
	Status(ctx context.Context) (*Status, error)
	RotateKey(ctx context.Context) (*Rotated, error)
	Verify(ctx context.Context) (*Verification, error)
	Backup(ctx context.Context, w io.Writer) (*Backup, error)
	// Doctor examines the node.
	Doctor(ctx context.Context) (*Examination, error)
	// Onion says how the onion overlay is, OnionPing tries whether another provider is reached over it.
	Onion(ctx context.Context) (*Onion, error)
	OnionPing(ctx context.Context, domain string) (*OnionPinged, error)
}
