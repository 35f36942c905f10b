package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/knock"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Knock is somebody's wish to be let into a room, as the user's provider says. Trouble says why no provider has taken it yet.
type Knock struct {
	Room    uri.Room
	User    uri.User
	State   string
	Note    string // of the user, one line without hidden characters
	Text    string // of who refused it, likewise
	Hub     string
	Trouble string
	At      time.Time
}

// Where a knock stands, in Knock.State.
const (
	KnockAsking     = clientapi.KnockAsking     // no hub has taken it yet
	KnockWaiting    = clientapi.KnockWaiting    // shown to those who may answer
	KnockRefused    = clientapi.KnockRefused    // somebody has refused it, or nobody may be asked
	KnockInside     = clientapi.KnockInside     // let in
	KnockCancelling = clientapi.KnockCancelling // taken back, and no hub knows it yet
	KnockCancelled  = clientapi.KnockCancelled
	KnockClosed     = clientapi.KnockClosed // the room lets nobody knock
	KnockExpired    = clientapi.KnockExpired
	KnockGone       = clientapi.KnockGone // of who waited: no more
)

// MaxNote is the longest note of a knock, and text of a refusal, in octets.
const MaxNote = knock.MaxNote

// ErrNote: a note that is too long or not one line of text.
var ErrNote = errors.New("client: not a note")

// Knock asks to be let into a room of which the user knows the URI only. It returns where the
// knock stands after a first attempt; the provider goes on by itself for knock.Lifetime.
// Who lets the user in adds it to the room, RoomJoined; KnockChanged tells of all else.
//
// Knocking is consent to be added to this room, by whoever the room lets add.
//
// Errors: ErrNote, *clientapi.Problem (CodeExists: in the room already), ErrUnreachable, ErrStopped.
func (c *Client) Knock(ctx context.Context, u uri.Room, note string) (Knock, error) {
	if err := knock.CheckNote(note); err != nil {
		return Knock{}, fmt.Errorf("knocking at %s: %w: %w", u, ErrNote, err)
	}
	k, err := c.sendKnock(ctx, &knock.Word{What: knock.Ask, Room: u, Note: note})
	if err != nil {
		return k, fmt.Errorf("knocking at %s: %w", u, err)
	}
	return k, nil
}

// CancelKnock takes a knock back. CodeNotFound: there is none that waits for an answer.
func (c *Client) CancelKnock(ctx context.Context, u uri.Room) (Knock, error) {
	k, err := c.sendKnock(ctx, &knock.Word{What: knock.Cancel, Room: u})
	if err != nil {
		return k, fmt.Errorf("taking a knock at %s back: %w", u, err)
	}
	return k, nil
}

func (c *Client) sendKnock(ctx context.Context, w *knock.Word) (Knock, error) {
	m, api, err := c.self(ctx)
	if err != nil {
		return Knock{}, err
	}
	w.Credential = m.credential()
	w.Issued = c.cfg.Now().Truncate(time.Millisecond)
	if err := w.Sign(m.signer); err != nil {
		return Knock{}, err
	}
	got := new(clientapi.Knock)
	if err := api.call(ctx, "POST", "/v1/knocks", &clientapi.SendKnock{Word: w.Append(nil)}, got); err != nil {
		return Knock{}, err
	}
	return knockOf(got)
}

// knockOf reads what a provider says. What was said to people is checked once more: it is
// shown.
func knockOf(v *clientapi.Knock) (Knock, error) {
	bad := func(err error) (Knock, error) { return Knock{}, fmt.Errorf("a knock: %w: %w", ErrProtocol, err) }
	k := Knock{State: v.State, Note: v.Note, Text: v.Text, Hub: v.Hub, Trouble: v.Trouble, At: time.UnixMilli(v.Issued)}
	var err error
	if k.Room, err = uri.ParseRoom(v.Room); err != nil {
		return bad(err)
	}
	if k.User, err = uri.ParseUser(v.User); err != nil {
		return bad(err)
	}
	if err := errors.Join(knock.CheckNote(v.Note), knock.CheckNote(v.Text)); err != nil {
		return bad(err)
	}
	return k, nil
}

// Knocks lists the user's own knocks, the newest first.
func (c *Client) Knocks(ctx context.Context) ([]Knock, error) {
	_, api, err := c.self(ctx)
	if err != nil {
		return nil, err
	}
	list := new(clientapi.Knocks)
	if err := api.call(ctx, "GET", "/v1/knocks", nil, list); err != nil {
		return nil, fmt.Errorf("listing knocks: %w", err)
	}
	var out []Knock
	for i := range list.Knocks {
		k, err := knockOf(&list.Knocks[i])
		if err != nil {
			return nil, fmt.Errorf("listing knocks: %w", err)
		}
		out = append(out, k)
	}
	return out, nil
}

// RoomKnocks lists who waits to be let into a room, the one who has waited longest first, for
// those whose role lets them answer. Words that were not said by whom they name are left
// out; failed is how many.
func (c *Client) RoomKnocks(ctx context.Context, u uri.Room) (out []Knock, failed int, err error) {
	var api *provider
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		api = c.api
		if r := c.roomOf(u); r != nil {
			return r.unmasked("knocking at the door"), nil
		}
		return nil, nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("listing who knocks at %s: %w", u, err)
	}
	list := new(clientapi.Knocks)
	if err := api.call(ctx, "GET", "/v1/rooms/"+room.IDOf([]byte(u.String())).String()+"/knocks", nil, list); err != nil {
		return nil, 0, fmt.Errorf("listing who knocks at %s: %w", u, err)
	}
	for i := range list.Knocks {
		k, err := c.checkKnock(ctx, u, &list.Knocks[i])
		if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrStopped) || ctx.Err() != nil {
			return nil, 0, fmt.Errorf("listing who knocks at %s: %w", u, err)
		}
		if err != nil {
			c.log.Warn("knock refused", "room", u, "user", list.Knocks[i].User, "error", err)
			failed++
			continue
		}
		out = append(out, k)
	}
	return out, failed, nil
}

// checkKnock verifies that a knock was said by its user, at this room.
func (c *Client) checkKnock(ctx context.Context, u uri.Room, v *clientapi.Knock) (Knock, error) {
	w, err := knock.ParseWord(v.Word)
	if err != nil {
		return Knock{}, err
	}
	user, err := w.User()
	if err != nil {
		return Knock{}, err
	}
	if err := c.know(ctx, user.Provider().Domain()); err != nil {
		return Knock{}, err
	}
	if _, err := w.Verify(c.auth, c.cfg.Now()); err != nil {
		return Knock{}, err
	}
	if w.What != knock.Ask || w.Room != u || user.String() != v.User {
		return Knock{}, fmt.Errorf("a word of %s at %s shown as one of %s at %s: %w", user, w.Room, v.User, u, ErrProtocol)
	}
	return Knock{Room: u, User: user, State: clientapi.KnockWaiting, Note: w.Note, At: w.Issued}, nil
}

// AcceptKnock lets somebody who waits into a room: it adds the user, as AddUser does, whose
// knock is the consent that this takes.
func (c *Client) AcceptKnock(ctx context.Context, u uri.Room, who uri.User) error {
	return c.AddUser(ctx, u, who)
}

// RefuseKnock refuses somebody who waits; text, which may be empty, is for the user. Whoever
// is refused learns that somebody did, and not who. CodeNotFound: the user does not wait, as
// somebody else has answered, or has taken the knock back.
func (c *Client) RefuseKnock(ctx context.Context, u uri.Room, who uri.User, text string) error {
	if err := knock.CheckNote(text); err != nil {
		return fmt.Errorf("refusing %s: %w: %w", who, ErrNote, err)
	}
	_, api, err := c.self(ctx)
	if err != nil {
		return err
	}
	path := "/v1/rooms/" + room.IDOf([]byte(u.String())).String() + "/knocks/refuse"
	if err := api.call(ctx, "POST", path, &clientapi.RefuseKnock{User: who.String(), Text: text}, nil); err != nil {
		return fmt.Errorf("refusing %s: %w", who, err)
	}
	return nil
}

// knocked takes an event about a knock.
func (c *Client) knocked(b *batch, data []byte) error {
	v := new(clientapi.Knock)
	if err := json.Unmarshal(data, v); err != nil {
		return err
	}
	k, err := knockOf(v)
	if err != nil {
		return err
	}
	b.tell(KnockChanged{k})
	return nil
}
