package rooms

import (
	"context"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
)

// Ban has a user banned from a room that this provider orders.
func (r *Rooms) Ban(context.Context, room.ID, string) error {
	return problem(501, clientapi.CodeInvalid, "not there yet")
}
