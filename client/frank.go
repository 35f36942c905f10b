package client

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/wire"
)

// Franks (package room, frank.go): a message that is not franked as it must be is not
// shown. It could be anything then: whoever it is by has not committed to it, or the hub
// has not said when it took it and from whom, so nobody could report it.

// commitment returns the authenticated data of a message, which holds the franking tag,
// and the salt, on which the submission's nonce depends. A report of what was received has
// no salt and nobody opens its tag; the hub cannot tell, and wants one from everybody.
func commitment(o *outItem) (aad []byte, salt content.Salt, err error) {
	salt = content.NewSalt()
	if m, err := content.Decode(o.Content, content.Limits{}); err == nil {
		salt = m.Salt
	} else if !o.Report {
		return nil, salt, err
	}
	return wire.NewFrankAAD(salt[:], o.Content).SafeAAD(), salt, nil
}

func plainOf(said *content.Message, encoded []byte) *room.Plain {
	return &room.Plain{Salt: said.Salt, Sender: said.Sender, Room: said.Room, Data: encoded}
}

// franked checks the frank of a message at its place in the log and puts it into the
// record. The hub that ordered it is the one that the log names up to there.
func (r *roomState) franked(m *messageRecord, body *room.Message, e *room.Entry, said *content.Message) error {
	var nonce room.TxnNonce
	var err error
	if r.mask == nil {
		nonce, err = body.CheckFrank(&r.Lead.Hub, r.uri, m.Sender, e.AcceptedAt, plainOf(said, m.Content))
	} else {
		nonce, m.Hidden, err = body.CheckHidden(&r.Lead.Hub, r.uri, m.Sender, e.AcceptedAt, plainOf(said, m.Content))
	}
	if err != nil {
		return err
	}
	if m.Frank, err = body.Frank.Bytes(); err != nil {
		return err
	}
	if nonce != (room.TxnNonce{}) {
		m.Blind = nonce[:]
	}
	return nil
}

// ownFranked is franked for an own message, whose content is in the outbox. The ciphertext
// is one that this device has made: what is wrong is the hub's doing.
func (c *Client) ownFranked(r *roomState, o *outItem, body *room.Message, e *room.Entry) (*messageRecord, error) {
	said, err := content.Decode(o.Content, content.Limits{})
	if err != nil {
		return nil, err
	}
	m := &messageRecord{Sender: c.as(r).String(), Content: o.Content}
	return m, r.franked(m, body, e, said)
}

// unfranked is a message that was decrypted and whose hub has not franked it: its key is
// used up, so if a copy comes whose frank is good, the plaintext is taken from here.
type unfranked struct {
	Sender  string
	Content []byte
}

func (c *Client) keepUnfranked(b *batch, r *roomState, m *messageRecord) {
	b.put(tableUnfranked(r.id), hex.EncodeToString(m.Hash), &unfranked{Sender: m.Sender, Content: m.Content})
}

// takeUnfranked returns what is kept of a ciphertext, nil if nothing is.
func (c *Client) takeUnfranked(b *batch, r *roomState, hash [sha256.Size]byte) (*unfranked, error) {
	v, err := c.get(b, tableUnfranked(r.id), hex.EncodeToString(hash[:]))
	if err != nil || v == nil {
		return nil, err
	}
	u := new(unfranked)
	return u, unmarshal("a message without its frank", v, u)
}

// misfranked ends an own message that stands in the log where nobody shows it.
func (c *Client) misfranked(b *batch, r *roomState, o *outItem, err error) error {
	b.tell(Problem{r.uri, fmt.Errorf("%s has put a message of this user into the log of %s so that nobody can show it: %w", r.Lead.Hub.Domain, r.uri, err)})
	return c.failMessage(b, r, o, fmt.Errorf("the hub %s spoiled it: %w: %w", r.Lead.Hub.Domain, ErrRefused, err))
}

// hubsFault says whether a message could still come with a good frank.
func hubsFault(err error) bool { return errors.Is(err, room.ErrFrank) && !errors.Is(err, room.ErrTag) }
