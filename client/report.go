package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Report is what is told to the operator of a room's hub about what somebody said.
type Report struct {
	// Messages are indices on this device, at least one, all by the same user and not by
	// this one.
	Messages []uint64
	// Note says what is wrong with them; may be empty.
	Note string
	// Named tells the hub who reports, in a pseudonymous room by the pseudonym. Otherwise it
	// learns only whose provider's user it is.
	Named bool
}

// Report shows messages, in clear, to the user's own provider and to the room's hub, with
// the proof that they were sent; nobody else in the room learns of it. It returns when the
// hub has the report for its operator, and says who that hub is. Who ordered the room when
// the messages were sent makes no difference.
//
// In a pseudonymous room the hub verifies and keeps it by pseudonyms, and passes what was said on to
// the provider of whoever said it, which alone can tell whose pseudonym that is; not who
// reports, nor the note.
//
// Errors: ErrNoRoom, ErrNoMessage, ErrRefused (what cannot be reported), and those of the
// provider and the hub.
func (c *Client) Report(ctx context.Context, u uri.Room, r Report) (hub string, err error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return "", err
	}
	m, from, hub, err := c.abuseReport(u, r)
	if err == nil {
		var b []byte
		if b, err = m.Bytes(); err == nil {
			nonce := room.NewTxnNonce()
			err = api.call(ctx, "POST", "/v1/rooms/"+room.IDOf([]byte(from)).String()+"/reports", &clientapi.ReportAbuse{Request: b, Nonce: nonce[:]}, nil)
		}
	}
	if err != nil {
		return "", fmt.Errorf("reporting messages of %s: %w", u, err)
	}
	return hub, nil
}

// abuseReport makes a report, and says in which room it was said and who orders that.
func (c *Client) abuseReport(u uri.Room, r Report) (report *wire.AbuseReport, from, hub string, err error) {
	if len(r.Messages) == 0 {
		return nil, "", "", fmt.Errorf("none was named: %w", ErrNoMessage)
	}
	m := &wire.AbuseReport{Note: r.Note}
	var blinds []wire.Blind
	err = c.cfg.Storage.View(func(tx Tx) error {
		m.Reporter, m.Abuser, m.Messages, blinds, from = "", "", nil, nil, ""
		at, err := recordOf(tx, u)
		if err != nil {
			return storageError(err)
		}
		if at == nil {
			return ErrNoRoom
		}
		id := room.IDOf([]byte(at.URI))
		var said *roomRecord
		var self string
		for _, index := range r.Messages {
			v, err := tx.Get(tableMessages(id), numberName(index))
			if err != nil {
				return storageError(err)
			}
			if v == nil {
				return fmt.Errorf("message %d: %w", index, ErrNoMessage)
			}
			rec := new(messageRecord)
			if err := unmarshal("message", v, rec); err != nil {
				return err
			}
			where := cmp.Or(rec.Room, at.URI) // its frank speaks of that
			if from == "" {
				if said, err = saidIn(tx, where); err != nil {
					return err
				}
				self = said.as(c.user)
			}
			switch {
			case from != "" && where != from:
				return fmt.Errorf("message %d was said in %s, and another one in %s; report them one by one: %w", index, where, from, ErrRefused)
			case rec.Sender == self:
				return fmt.Errorf("message %d is your own: %w", index, ErrRefused)
			case m.Abuser != "" && rec.Sender != string(m.Abuser):
				return fmt.Errorf("message %d is by %s, and another one by %s; report them one by one: %w", index, shownIn(tx, id, rec.Sender), shownIn(tx, id, string(m.Abuser)), ErrRefused)
			case rec.Hidden:
				return fmt.Errorf("message %d came to the hub over relays: that it is by %s only members can see, and nobody can be shown; remove who said it: %w", index, shownIn(tx, id, rec.Sender), ErrRefused)
			case len(rec.Frank) == 0:
				return fmt.Errorf("message %d came without the proof that it was sent, to an older version of this program: %w", index, ErrRefused)
			}
			f, err := wire.ParseFrank(rec.Frank, wire.Limits{})
			if err != nil {
				return fmt.Errorf("message %d: %w: %w", index, ErrStorage, err)
			}
			from = where
			var blind wire.Blind
			copy(blind[:], rec.Blind)
			blinds = append(blinds, blind)
			m.Abuser = wire.IdentifierURI(rec.Sender)
			m.Messages = append(m.Messages, wire.AbusiveMessage{Content: rec.Content, Frank: *f, AcceptedAt: rec.AcceptedAt})
		}
		if r.Named {
			m.Reporter = wire.IdentifierURI(self)
		}
		hub = said.Lead.Hub.Domain
		return nil
	})
	if err != nil {
		return nil, "", "", err
	}
	m.SetBlinds(blinds)
	return m, from, hub, nil
}

// saidIn reads the record of the room in which something was said.
func saidIn(tx Tx, name string) (*roomRecord, error) {
	v, err := tx.Get(tableRoom, room.IDOf([]byte(name)).String())
	if err != nil || v == nil {
		return nil, errors.Join(ErrNoRoom, err)
	}
	rec := new(roomRecord)
	return rec, unmarshal("room", v, rec)
}

// as returns what the own user goes by in the room.
func (r *roomRecord) as(u uri.User) string {
	if r.Mask != nil {
		return r.Mask.User
	}
	return u.String()
}

// shownIn is who somebody in a room is, for people.
func shownIn(tx Tx, id room.ID, who string) string {
	u, err := uri.ParseParticipant(who)
	if err != nil {
		return who
	}
	if u, err = namedIn(tx, id, u); err != nil {
		return who
	}
	return u.Short()
}
