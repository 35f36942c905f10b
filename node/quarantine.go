package node

import (
	"context"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// quarantine is that of the contacts, which are made after the rooms, and before anything runs.
type quarantine struct{ p *parts }

// Enters implements rooms.Quarantine.
func (q quarantine) Enters(tx *store.Tx, room uri.Room, u, by uri.User, next uint64) (bool, error) {
	return q.p.contacts.Enters(tx, room, u, by, next)
}

// Welcomed implements rooms.Quarantine.
func (q quarantine) Welcomed(tx *store.Tx, u uri.User, w *clientapi.Welcome) (bool, error) {
	return q.p.contacts.Welcomed(tx, u, w)
}

// Left implements rooms.Quarantine.
func (q quarantine) Left(tx *store.Tx, u uri.User, id room.ID) error {
	return q.p.contacts.Left(tx, u, id)
}

// Comes implements rooms.Quarantine.
func (q quarantine) Comes(ctx context.Context, u uri.User, id room.ID) error {
	return q.p.contacts.Comes(ctx, u, id)
}
