package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// Message is one message of a room as this device has it.
type Message struct {
	Index uint64 // of this device, in the order in which it came here
	ID    content.MessageID
	// Sender is who said it; in a pseudonymous room the pseudonym, as long as nobody has
	// told this device whose it is.
	Sender uri.User
	Text   string
	// Content is the whole content.
	Content *content.Message
	// AcceptedAt is when the hub took it, by its clock; zero before.
	AcceptedAt time.Time
	State      State
	// Seq is its place in the room's log, once it is final.
	Seq uint64
	// ExpiresAt is when it ends; zero: never, or that long after it is read.
	ExpiresAt time.Time
	// Mentioned says that it mentions this device's user; Messages and notices fill it in.
	Mentioned bool
	// Hidden says that it came to the hub over relays: the hub was not told who said it, and cannot be shown it
	// in a report.
	Hidden bool
	// About is the index of the message that this one answers, reacts to, edits or takes
	// back; nil for none or one that is not here. Messages fills it in.
	About *uint64
	// Room is where it was said, if that was a direct room that has yielded to this one.
	Room uri.Room

	also []content.MessageID
}

// messageRecord is a message in the storage.
type messageRecord struct {
	Index      uint64
	ID         content.MessageID
	Sender     string
	Content    []byte
	Seq        uint64
	AcceptedAt uint64
	State      State
	Hash       []byte // SHA-256 of the ciphertext
	Frank      []byte `json:",omitempty"` // wire.Frank, of a final one
	Blind      []byte `json:",omitempty"` // that its signature holds; none if it is plain MIMI's
	Hidden     bool   `json:",omitempty"` // the frank names the room, and nobody in it
	Failure    string `json:",omitempty"`
	// Room is where it was said, if that was another one, which has yielded to this one.
	Room string `json:",omitempty"`
	// Also are ids that it is or would be known by in the other one of the two.
	Also []content.MessageID `json:",omitempty"`
	// Untold: the application is told of it when it is carried over.
	Untold    bool   `json:",omitempty"`
	ExpiresAt uint64 `json:",omitempty"` // Unix milliseconds; 0: never, or not known yet
}

func (m *messageRecord) show() (*Message, error) {
	said, err := content.Decode(m.Content, content.Limits{})
	if err != nil {
		return nil, fmt.Errorf("reading message %d: %w: %w", m.Index, ErrStorage, err)
	}
	sender, err := uri.ParseParticipant(m.Sender)
	if err != nil {
		return nil, fmt.Errorf("reading message %d: %w: %w", m.Index, ErrStorage, err)
	}
	out := &Message{Index: m.Index, ID: m.ID, Sender: sender, Text: said.Text(), Content: said, State: m.State, Seq: m.Seq, Hidden: m.Hidden}
	out.also = m.Also
	if m.Room != "" {
		if out.Room, err = uri.ParseRoom(m.Room); err != nil {
			return nil, fmt.Errorf("reading message %d: %w: %w", m.Index, ErrStorage, err)
		}
	}
	if m.AcceptedAt > 0 {
		out.AcceptedAt = time.UnixMilli(int64(m.AcceptedAt))
	}
	if m.ExpiresAt > 0 {
		out.ExpiresAt = time.UnixMilli(int64(m.ExpiresAt))
	}
	return out, nil
}

// addMessage gives a message its index and stores it.
func (c *Client) addMessage(b *batch, r *roomState, m *messageRecord) {
	m.Index = r.NextMessage
	r.NextMessage++
	b.put(tableMessages(r.id), numberName(m.Index), m)
	for _, id := range append([]content.MessageID{m.ID}, m.Also...) {
		b.put(tableIDs(r.id), string(id[:]), m.Index)
	}
}

// outItem is an own message on its way. It stays until it is seen in the log.
type outItem struct {
	n     uint64
	Room  room.ID
	Index uint64
	// Report says that it is a status report, which no message of the room's is: it has no
	// Index, and its fate is nobody's business.
	Report bool `json:",omitempty"`
	// Content is the plaintext: encrypted again, if need be, it is the same
	// message.
	Content []byte
	// Request and Nonce are the present submission, of the group's Epoch.
	Request, Nonce []byte
	Epoch          uint64
	// Hidden: Request names nobody as its sender, and goes to the hub over relays or not at all.
	Hidden bool `json:",omitempty"`
	// Hashes are those of all ciphertexts that were made.
	Hashes   [][]byte
	Accepted bool
	Refused  int `json:",omitempty"` // how often, in a direct room
}

func (o *outItem) save(b *batch) { b.put(tableOutbox, numberName(o.n), o) }

func (c *Client) outboxOf(r *roomState) []*outItem {
	var out []*outItem
	for _, o := range c.outbox {
		if o.Room == r.id {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *outItem) int { return int(a.n) - int(b.n) })
	return out
}

func (c *Client) outItemBy(r *roomState, hash []byte) *outItem {
	for _, o := range c.outboxOf(r) {
		if slices.ContainsFunc(o.Hashes, func(h []byte) bool { return bytes.Equal(h, hash) }) {
			return o
		}
	}
	return nil
}

// padding returns the multiple to which a content of n bytes is padded, so that
// its length tells little.
func padding(n int) int {
	switch {
	case n <= 1<<10:
		return 256
	case n <= 16<<10:
		return 2 << 10
	}
	return 16 << 10
}

// Send puts a text message into the outbox and returns its index in the room when
// it is durable there. It goes out by itself; SendState tells how far it is.
//
// Errors: ErrNoRoom, ErrRefused where the own role does not allow it, ErrStopped,
// ErrStorage, and those of content for a text that is too large.
func (c *Client) Send(ctx context.Context, u uri.Room, text string) (uint64, error) {
	return c.SendContent(ctx, u, content.New(content.Origin{}, content.Text(text)))
}

// SendContent is Send for any content. Sender and room are filled in.
func (c *Client) SendContent(ctx context.Context, u uri.Room, m *content.Message) (uint64, error) {
	return c.sendContent(ctx, u, m, c.permitted)
}

func (c *Client) sendContent(ctx context.Context, u uri.Room, m *content.Message, permitted func(*batch, *roomState, *content.Message) error) (uint64, error) {
	var index uint64
	err := c.do(ctx, func() (error, error) {
		r := c.roomOf(u)
		if r == nil || r.gone() && (r.Into == "" || r.Folded) { // else it goes on in another
			return ErrNoRoom, nil
		}
		if r.State == roomParted {
			return fmt.Errorf("%s: %w", r.Reason, ErrParted), nil
		}
		c.within(r.id)
		w := new(batch)
		var refused error
		if index, refused = c.queue(w, r, m, permitted); refused != nil {
			return refused, nil
		}
		return nil, c.commit(w)
	})
	if err != nil {
		return 0, fmt.Errorf("sending to %s: %w", u, err)
	}
	return index, nil
}

// queue writes a message, with sender, room and what the room demands filled in, into a
// batch that puts it into the outbox, and returns its index.
func (c *Client) queue(w *batch, r *roomState, m *content.Message, permitted func(*batch, *roomState, *content.Message) error) (uint64, error) {
	said := *m
	said.Sender, said.Room = c.as(r).String(), r.uri.String()
	said = r.withDefault(said, c.cfg.Now())
	b, err := said.Encode(content.Limits{})
	if err != nil {
		return 0, err
	}
	id, err := content.DeriveID(b, said.Sender, said.Room)
	if err != nil {
		return 0, err
	}
	if err := permitted(w, r, &said); err != nil {
		return 0, err
	}
	rec := &messageRecord{ID: id, Sender: said.Sender, Content: b, State: StateQueued}
	c.addMessage(w, r, rec)
	c.endsAt(w, r, rec, said.Expires, c.cfg.Now())
	c.enqueue(w, &outItem{Room: r.id, Index: rec.Index, Content: b})
	r.save(w)
	return rec.Index, nil
}

// pumpOutbox submits the next message of a room, one at a time, so that they
// arrive in their order.
func (c *Client) pumpOutbox(r *roomState) error {
	var o *outItem
	for _, x := range c.outboxOf(r) {
		if !x.Accepted {
			o = x
			break
		}
	}
	if o == nil || o.Request == nil && r.waits() {
		return nil
	}
	if o.Request != nil && o.Hidden != r.overRelays() {
		if r.waits() {
			return nil
		}
		// The user has chosen another way since. Whether it has come by the other one is not known; if so,
		// it is the same message twice, and shown once.
		o.Request, o.Nonce = nil, nil
	}
	if o.Request == nil {
		for _, w := range c.wishesOf(r) {
			if w.Kind == wishAdd && w.Request != nil {
				return nil // whoever is being added is to read it
			}
		}
		if err := c.encrypt(r, o); err != nil {
			return err
		}
		if o.Request == nil {
			return nil
		}
	}
	path := "/v1/rooms/" + r.id.String() + "/messages"
	req := &clientapi.SubmitMessage{Request: o.Request, Nonce: o.Nonce}
	if o.Hidden {
		if err := c.hide(r, o, req); err != nil {
			return c.withheld(r, o, err)
		}
	}
	term := r.At.Term
	c.asyncIn(r, "sending to "+r.uri.String(), &r.sending, func(ctx context.Context) (func() error, error) {
		got := new(clientapi.SubmittedMessage)
		err := c.api.callAs(ctx, req.Privacy, path, req, got, &got.Over)
		if req.Privacy != nil && hasCode(err, clientapi.CodePrivacy) {
			return func() error { return c.withheld(r, o, err) }, nil
		}
		var answer *wire.SubmitMessageResponse
		if err == nil {
			if answer, err = wire.ParseSubmitMessageResponse(got.Response, wire.Limits{}); err != nil {
				return nil, fmt.Errorf("answer of the hub: %w: %w", ErrProtocol, err)
			}
		} else if passing, _ := transient(err); passing || hasCode(err, clientapi.CodeUnauthorized) {
			return nil, err
		}
		return func() error {
			if answer != nil && answer.Code == wire.SubmitAccepted && r.At.Term != term && c.outbox[o.n] == o {
				// Another hub was heard of meanwhile. Whose answer this is, and whether the
				// other one knows of the message, cannot be told: it is asked again.
				return nil
			}
			if err := r.believes(o, answer); err != nil {
				r.sending.failed(c.cfg.Now(), c.cfg.Retry, 0)
				b := new(batch)
				b.tell(Problem{r.uri, err})
				return c.commit(b)
			}
			return c.submitted(r, o, answer, err)
		}, nil
	})
	return nil
}

// encrypt makes the ciphertext of an outbox item. It is durable, with the group's
// ratchet, before it leaves.
func (c *Client) encrypt(r *roomState, o *outItem) error {
	b := new(batch)
	aad, salt, err := commitment(o)
	var m *mls.Message
	if err == nil {
		m, err = r.group.Encrypt(o.Content, mls.SendOptions{PadTo: padding(len(o.Content)), AAD: aad})
	}
	var req []byte
	o.Hidden = r.overRelays()
	if err == nil {
		from := uriOf(c.as(r))
		if o.Hidden {
			from = room.HiddenSender(r.uri)
		}
		req, err = (&wire.SubmitMessageRequest{Message: m, SendingURI: from}).Bytes()
	}
	if err != nil {
		if err := c.failMessage(b, r, o, err); err != nil {
			return err
		}
		return c.commit(b)
	}
	hash := sha256.Sum256(m.Bytes())
	nonce := room.MessageNonce(salt, hash)
	o.Request, o.Nonce, o.Epoch = req, nonce[:], r.group.Epoch()
	o.Hashes = append(o.Hashes, hash[:])
	o.save(b)
	r.save(b)
	return c.commit(b)
}

// submitted takes the hub's answer about a message, or the provider's refusal.
func (c *Client) submitted(r *roomState, o *outItem, a *wire.SubmitMessageResponse, refused error) error {
	if c.outbox[o.n] != o {
		return nil // seen in the log before the answer came
	}
	b := new(batch)
	switch {
	case refused != nil:
		if err := c.failMessage(b, r, o, refused); err != nil {
			return err
		}
	case a.Code == wire.SubmitAccepted:
		o.Accepted, r.held = true, ""
		o.save(b)
		if o.Report {
			break
		}
		if err := c.changeMessage(b, r, o.Index, func(m *messageRecord) { m.State, m.AcceptedAt = StateAccepted, a.AcceptedAt }); err != nil {
			return err
		}
		b.tell(SendState{Room: r.uri, Index: o.Index, State: StateAccepted})
	case a.Code == wire.SubmitEpochTooOld:
		// The same content with the same salt, encrypted anew: the same message.
		o.Request, o.Nonce = nil, nil
		o.save(b)
		r.fetch = true
		if r.State == roomJoined && r.group.Epoch() <= o.Epoch {
			r.sending.failed(c.cfg.Now(), c.cfg.Retry, 0)
		}
	case r.Peer != "" && o.Refused < maxTries:
		// Both may send in a direct room, so it has ended: the log tells.
		o.Refused++
		o.Request, o.Nonce = nil, nil
		o.save(b)
		r.fetch = true
		r.sending.failed(c.cfg.Now(), c.cfg.Retry, 0)
	default:
		err := fmt.Errorf("the hub does not let %s send: %w", c.as(r), ErrRefused)
		if err := c.failMessage(b, r, o, err); err != nil {
			return err
		}
	}
	return c.commit(b)
}

// finalMessage takes an own message out of the outbox when it stands in the log.
func (c *Client) finalMessage(b *batch, r *roomState, o *outItem, body *room.Message, e *room.Entry) error {
	if o.Report {
		c.passed(b, r, o)
		return nil
	}
	hash := sha256.Sum256(body.Message.Bytes())
	own, err := c.ownFranked(r, o, body, e)
	if err != nil {
		return c.misfranked(b, r, o, err)
	}
	c.passed(b, r, o)
	err = c.changeMessage(b, r, o.Index, func(m *messageRecord) {
		m.State, m.AcceptedAt, m.Seq, m.Hash = StateFinal, e.AcceptedAt, e.Seq, hash[:]
		m.Frank, m.Blind, m.Hidden = own.Frank, own.Blind, own.Hidden
	})
	if err != nil {
		return err
	}
	b.tell(SendState{Room: r.uri, Index: o.Index, State: StateFinal})
	return nil
}

// passed takes an item that has got through out of the outbox.
func (c *Client) passed(b *batch, r *roomState, o *outItem) {
	delete(c.outbox, o.n)
	b.del(tableOutbox, numberName(o.n))
	r.sending.fails, r.sending.at = 0, time.Time{}
	r.held = ""
}

func (c *Client) failMessage(b *batch, r *roomState, o *outItem, why error) error {
	delete(c.outbox, o.n)
	b.del(tableOutbox, numberName(o.n))
	if o.Report {
		c.log.Debug("a report was refused", "room", r.uri, "error", why)
		return nil
	}
	if err := c.changeMessage(b, r, o.Index, func(m *messageRecord) { m.State, m.Failure = StateFailed, why.Error() }); err != nil {
		return err
	}
	b.tell(SendState{Room: r.uri, Index: o.Index, State: StateFailed, Err: why})
	return nil
}

func (c *Client) changeMessage(b *batch, r *roomState, index uint64, change func(*messageRecord)) error {
	v, err := c.get(b, tableMessages(r.id), numberName(index))
	if err != nil {
		return err
	}
	m := new(messageRecord)
	if err := unmarshal("message", v, m); err != nil {
		return err
	}
	change(m)
	b.put(tableMessages(r.id), numberName(index), m)
	return nil
}

// mentioned says whether another user's message mentions the own one (content draft,
// section 9.6).
func (c *Client) mentioned(m *Message) bool {
	return m.Sender != c.user && slices.Contains(m.Content.Mentions(), c.user)
}

// aboutOf returns the index of the message that another one is about.
func aboutOf(tx Tx, id room.ID, m *content.Message) (*uint64, error) {
	to := m.Replaces
	if to == nil {
		to = m.InReplyTo
	}
	if to == nil {
		return nil, nil
	}
	v, err := tx.Get(tableIDs(id), string(to[:]))
	if err != nil || v == nil {
		return nil, err
	}
	index := new(uint64)
	return index, unmarshal("where a message is", v, index)
}

// MessageByID returns a message of a room, wherever it is now: in a direct room that has taken
// the place of another, indexes are others. It works without Run. Errors: ErrNoMessage,
// ErrStorage.
func (c *Client) MessageByID(u uri.Room, id content.MessageID) (m Message, err error) {
	var index *uint64
	err = c.cfg.Storage.View(func(tx Tx) error {
		rec, err := recordOf(tx, u)
		if err != nil || rec == nil {
			return errors.Join(ErrNoMessage, err)
		}
		v, err := tx.Get(tableIDs(room.IDOf([]byte(rec.URI))), string(id[:]))
		if err != nil || v == nil {
			return errors.Join(ErrNoMessage, err)
		}
		index = new(uint64)
		return unmarshal("where a message is", v, index)
	})
	if err == nil {
		var list []Message
		if list, err = c.Messages(u, *index, 1); err == nil && (len(list) == 0 || list[0].Index != *index) {
			err = ErrNoMessage
		}
		if err == nil {
			m = list[0]
		}
	}
	if err != nil {
		return m, fmt.Errorf("reading message %x of %s: %w", id, u, err)
	}
	return m, nil
}

// Messages returns up to limit messages of a room from an index on, in the order
// in which they came to this device. It works without Run.
func (c *Client) Messages(u uri.Room, from uint64, limit int) ([]Message, error) {
	var out []Message
	err := c.cfg.Storage.View(func(tx Tx) error {
		out = nil
		id := room.IDOf([]byte(u.String()))
		if rec, err := recordOf(tx, u); err != nil {
			return err
		} else if rec != nil {
			id = room.IDOf([]byte(rec.URI))
		}
		for it, err := range tx.Scan(tableMessages(id), numberName(from)) {
			if err != nil {
				return err
			}
			if len(out) == limit {
				return nil
			}
			rec := new(messageRecord)
			if err := unmarshal("message", it.Value, rec); err != nil {
				return err
			}
			if rec.ExpiresAt != 0 && rec.ExpiresAt <= uint64(max(0, c.cfg.Now().UnixMilli())) {
				continue // it has ended, and is deleted when the device runs
			}
			m, err := rec.show()
			if err != nil {
				return err
			}
			if m.Sender, err = namedIn(tx, id, m.Sender); err != nil {
				return err
			}
			m.Mentioned = c.mentioned(m)
			if m.About, err = aboutOf(tx, id, m.Content); err != nil {
				return err
			}
			out = append(out, *m)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading messages of %s: %w", u, errors.Join(storageError(err)))
	}
	return out, nil
}
