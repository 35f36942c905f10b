package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// How an attachment goes out, and what a crash leaves behind:
//
//  1. A record with the key and the name of a file in the spool: nothing was sent. The
//     file that it was made from is not known to the next process: record and file go.
//  2. The file is encrypted into the spool, and synced. The same.
//  3. The record gets size and hash. From here on it goes out by itself, whatever becomes
//     of the file that it was made from.
//  4. The provider takes the octets, from wherever it says. The same ciphertext goes out
//     each time: nothing is ever encrypted twice with one key.
//  5. The provider has all. One transaction takes the record away and puts the message
//     into the outbox.
//  6. The file in the spool is removed; one that no record names, at the next start.

// Outgoing is a file to attach.
type Outgoing struct {
	// Name is the file's name for others; folders are left out.
	Name string
	// MediaType says what it is; application/octet-stream if empty.
	MediaType string
	// Text goes with it, may be empty.
	Text string
	// With, if not nil, is the message that it goes with, in place of Text: its words, if it
	// has any, come first, and it answers and ends as that does.
	With *Content
	// Content is read to its end, once.
	Content io.Reader
	// Size is how many octets Content has, if that is known; then what is too large is
	// refused before it is read.
	Size int64
	// Progress, if not nil, is called now and then with how many octets of the whole
	// have been brought to the provider; from another goroutine.
	Progress func(sent, size int64)
}

// attachment is one on its way.
type attachment struct {
	n         uint64
	Room      room.ID
	Spool     string // name of the file
	Key       []byte
	Nonce     []byte
	Name      string
	MediaType string
	Text      string
	With      []byte `json:",omitempty"` // encoding of Outgoing.With
	Size      int64  // of the content
	Hash      []byte // of the ciphertext; nil until it is whole

	with     *content.Message // of With
	task     task
	progress func(sent, size int64)
	damaged  bool // the provider has found another hash once
}

const (
	uploadPrefix   = "up-"
	downloadPrefix = "get-"
	// stallTime is how long the provider may take or bring nothing.
	stallTime = time.Minute
)

func (a *attachment) save(b *batch) { b.put(tableAttach, numberName(a.n), a) }

// read reads what it goes with.
func (a *attachment) read() (err error) {
	if a.With != nil {
		a.with, err = content.Decode(a.With, content.Limits{})
	}
	return err
}

// stored is the size of the ciphertext.
func (a *attachment) stored() int64 { return a.Size + asset.TagSize }

// Attach encrypts a file, brings it to the provider, and puts a message with it into the
// outbox, whose index it returns. When it has been read to its end it goes out by itself:
// if ctx ends after that, or the process, Attach or the next process goes on; the error is
// then ErrPending and ctx's. It may take as long as ctx lasts.
//
// Errors: ErrNoSpool, ErrNoRoom, ErrRefused where the own role does not allow it, asset.ErrTooLarge,
// ErrStopped, ErrStorage, what Content returned, and what the provider refused, such as
// for a quota.
func (c *Client) Attach(ctx context.Context, u uri.Room, o Outgoing) (index uint64, err error) {
	index, err = c.attach(ctx, u, &o)
	if err != nil {
		return 0, fmt.Errorf("attaching %.100q to %s: %w", fileName(o.Name), u, err)
	}
	return index, nil
}

// fileName is what others are told of a file's name.
func fileName(s string) string { return content.ExternalPart{Filename: s}.SafeFilename() }

func (c *Client) attach(ctx context.Context, u uri.Room, o *Outgoing) (uint64, error) {
	if c.cfg.Spool == nil {
		return 0, ErrNoSpool
	}
	if !utf8.ValidString(o.Text) {
		return 0, fmt.Errorf("the text is not UTF-8: %w", ErrName)
	}
	limit, err := c.attachLimit(ctx)
	if err != nil {
		return 0, err
	}
	if o.Size > limit {
		return 0, tooLarge(o.Size, limit)
	}
	secret := asset.NewSecret()
	var name [16]byte
	rand.Read(name[:])
	a := &attachment{Room: room.IDOf([]byte(u.String())), Spool: uploadPrefix + hex.EncodeToString(name[:]), Key: secret.Key[:], Nonce: secret.Nonce[:],
		Name: fileName(o.Name), MediaType: cmp.Or(o.MediaType, "application/octet-stream"), Text: o.Text, Size: max(o.Size, 0), progress: o.Progress}
	if o.With != nil {
		if a.With, err = o.With.Encode(content.Limits{}); err == nil {
			err = a.read()
		}
		if err != nil {
			return 0, err
		}
	}
	if err := c.beginAttachment(ctx, u, a); err != nil {
		return 0, err
	}
	size, hash, err := c.spool(a.Spool, o.Content, secret, limit)
	if err != nil {
		if errors.Is(err, asset.ErrTooLarge) {
			err = fmt.Errorf("%w: your provider keeps files of at most %d octets", err, limit)
		}
		return 0, errors.Join(err, c.forget(ctx, a))
	}
	done, err := c.sendAttachment(ctx, a, size, hash)
	if errors.Is(err, ErrRefused) {
		err = errors.Join(err, c.forget(ctx, a))
	}
	if err != nil {
		return 0, err
	}
	select {
	case r := <-done:
		return r.index, r.err
	case <-c.stopped:
		return 0, fmt.Errorf("%w: %w", ErrPending, ErrStopped)
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrPending, ctx.Err())
	}
}

func tooLarge(size, limit int64) error {
	return fmt.Errorf("%d octets, and your provider keeps files of at most %d: %w", size, limit, asset.ErrTooLarge)
}

// attachLimit asks the provider for the largest content that it keeps, once.
func (c *Client) attachLimit(ctx context.Context) (int64, error) {
	var limit int64
	var api *provider
	err := c.do(ctx, func() (error, error) {
		c.untouched()
		limit, api = c.maxAsset, c.api
		return nil, nil
	})
	if err != nil || limit > 0 {
		return limit, err
	}
	got := new(clientapi.Provider)
	if err := api.call(ctx, http.MethodGet, "/v1/provider", nil, got); err != nil {
		if passing, _ := transient(err); passing {
			return asset.MaxSize, nil // it is offline: it says so when it gets the file
		}
		return 0, err
	}
	if limit = got.MaxAsset - asset.TagSize; limit < 1 {
		return 0, fmt.Errorf("your provider keeps no attachments: %w", ErrRefused)
	}
	return limit, c.do(ctx, func() (error, error) {
		c.untouched()
		c.maxAsset = limit
		return nil, nil
	})
}

// beginAttachment makes the record durable, if the room would take the message.
func (c *Client) beginAttachment(ctx context.Context, u uri.Room, a *attachment) error {
	return c.do(ctx, func() (error, error) {
		c.untouched()
		r := c.rooms[a.Room]
		if r == nil || r.State == roomLeft || r.State == roomStopped {
			return ErrNoRoom, nil
		}
		b := new(batch)
		if err := c.permitted(b, r, a.foreseen(c.as(r))); err != nil {
			return err, nil
		}
		a.n = c.next
		c.next++
		a.save(b)
		if err := c.commit(b); err != nil {
			return nil, err
		}
		c.attachments[a.n] = a
		return nil, nil
	})
}

// spool encrypts the file.
func (c *Client) spool(name string, src io.Reader, s asset.Secret, limit int64) (size int64, hash asset.Hash, err error) {
	f, err := c.cfg.Spool.Open(name)
	if err != nil {
		return 0, hash, fmt.Errorf("keeping the encrypted file: %w", err)
	}
	defer f.Close()
	if size, hash, err = asset.Seal(&writerFrom{f: f}, src, s, limit); err != nil {
		return 0, hash, err
	}
	if err := f.Sync(); err != nil {
		return 0, hash, fmt.Errorf("keeping the encrypted file: %w", err)
	}
	return size, hash, f.Close()
}

// forget takes back an attachment of which nobody heard.
func (c *Client) forget(ctx context.Context, a *attachment) error {
	err := c.do(context.WithoutCancel(ctx), func() (error, error) {
		c.untouched()
		b := new(batch)
		c.dropAttachment(b, a)
		return nil, c.commit(b)
	})
	return errors.Join(err, c.cfg.Spool.Remove(a.Spool))
}

func (c *Client) dropAttachment(b *batch, a *attachment) {
	b.del(tableAttach, numberName(a.n))
	delete(c.attachments, a.n)
}

// attached is how an attachment ended.
type attached struct {
	index uint64
	err   error
}

// sendAttachment has the loop bring it to the provider.
func (c *Client) sendAttachment(ctx context.Context, a *attachment, size int64, hash asset.Hash) (<-chan attached, error) {
	done := make(chan attached, 1)
	return done, c.do(context.WithoutCancel(ctx), func() (error, error) {
		c.untouched()
		a.Size = size
		// Its size is certain only now, and the policy may be another since.
		if r := c.rooms[a.Room]; r != nil && r.group != nil {
			if err := r.attaches(c.as(r), a.foreseen(c.as(r))); err != nil {
				return fmt.Errorf("%w: %w", err, ErrRefused), nil
			}
		}
		a.Hash = hash[:]
		b := new(batch)
		a.save(b)
		if err := c.commit(b); err != nil {
			return nil, err
		}
		c.attaching[a.n] = done
		return nil, nil
	})
}

// startAttachments removes what a crash has left of attachments that were not whole.
func (c *Client) startAttachments() error {
	b := new(batch)
	named := map[string]bool{}
	for _, n := range slices.Sorted(maps.Keys(c.attachments)) {
		if a := c.attachments[n]; a.Hash == nil {
			c.dropAttachment(b, a)
		} else {
			named[a.Spool] = true
		}
	}
	if err := c.commit(b); err != nil || c.cfg.Spool == nil {
		return err
	}
	names, err := c.cfg.Spool.Names()
	for _, name := range names {
		if strings.HasPrefix(name, uploadPrefix) && !named[name] {
			err = errors.Join(err, c.cfg.Spool.Remove(name))
		}
	}
	if err != nil {
		c.log.Warn("removing attachments that did not go out", "error", err)
	}
	return nil
}

// pumpAttachments brings what is due to the provider, one after the other.
func (c *Client) pumpAttachments(soon func(*task) bool) {
	if c.cfg.Spool == nil {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(c.attachments)) {
		a := c.attachments[n]
		if a.Hash == nil {
			continue
		}
		if a.task.busy {
			return
		}
		if !soon(&a.task) {
			continue
		}
		c.asyncAs("bringing an attachment to the provider", &a.task, func() { c.within(a.Room) }, func(ctx context.Context) (func() error, error) {
			got, err := c.upload(ctx, a)
			if err != nil {
				if passing, _ := transient(err); passing || hasCode(err, clientapi.CodeUnauthorized) || ctx.Err() != nil {
					return nil, err
				}
			}
			return func() error { return c.uploaded(a, got, err) }, nil
		})
		return
	}
}

// upload brings a ciphertext to the provider.
func (c *Client) upload(ctx context.Context, a *attachment) (*clientapi.Asset, error) {
	f, err := c.cfg.Spool.Open(a.Spool)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, hash := a.stored(), hex.EncodeToString(a.Hash)
	if n, err := f.Size(); err != nil {
		return nil, fmt.Errorf("reading the encrypted file: %w", err)
	} else if n != size {
		return nil, fmt.Errorf("the encrypted file has %d octets and not %d: attach it again: %w", n, size, ErrStorage)
	}
	for range 100 { // each brings it further, or fails
		got := new(clientapi.Asset)
		if err := c.api.call(ctx, http.MethodPost, "/v1/assets", &clientapi.NewAsset{Hash: hash, Size: size}, got); err != nil {
			return nil, err
		}
		for !got.Complete {
			a.tell(got.Offset)
			next, err := c.api.append(ctx, hash, got.Offset, io.NewSectionReader(f, got.Offset, size-got.Offset), a.tell)
			if hasCode(err, clientapi.CodeOffset) {
				break // it knows better
			}
			if err != nil {
				return nil, err
			}
			if next.Offset <= got.Offset {
				return nil, fmt.Errorf("the provider took nothing of an attachment: %w", ErrProtocol)
			}
			got = next
		}
		if got.Complete {
			a.tell(size)
			if l, err := asset.ParseURL(got.URL); err != nil || l.Hash.String() != hash {
				return nil, fmt.Errorf("the provider keeps the attachment at %.100q: %w", got.URL, ErrProtocol)
			}
			return got, nil
		}
	}
	return nil, fmt.Errorf("the provider's offset changes all the time: %w", ErrProtocol)
}

func (a *attachment) tell(sent int64) {
	if a.progress != nil {
		a.progress(min(sent, a.Size), a.Size)
	}
}

// uploaded puts the message into the outbox, or gives the attachment up.
func (c *Client) uploaded(a *attachment, got *clientapi.Asset, refused error) error {
	if c.attachments[a.n] != a {
		return nil
	}
	if hasCode(refused, clientapi.CodeDamaged) && !a.damaged {
		a.damaged = true // on the way or here? The second time it is here
		return nil
	}
	b := new(batch)
	c.dropAttachment(b, a)
	end := attached{}
	r := c.rooms[a.Room]
	if refused == nil && (r == nil || r.State == roomLeft || r.State == roomStopped) {
		refused = ErrNoRoom
	}
	if refused == nil {
		end.index, refused = c.queue(b, r, a.message(a.part(got)), c.permitted)
	}
	if refused != nil {
		n := AttachFailed{Name: a.Name, Err: refused}
		if r != nil {
			n.Room = r.uri
		}
		b.tell(n)
	}
	if err := c.commit(b); err != nil {
		return err
	}
	end.err = refused
	if done := c.attaching[a.n]; done != nil {
		done <- end
		delete(c.attaching, a.n)
	}
	if err := c.cfg.Spool.Remove(a.Spool); err != nil {
		c.log.Warn("removing an attachment that went out", "error", err)
	}
	return nil
}

// part is what the others need.
func (a *attachment) part(got *clientapi.Asset) content.ExternalPart {
	x := content.ExternalPart{MediaType: a.MediaType, URL: got.URL, Size: uint64(a.Size), EncAlg: content.AES128GCM, Key: a.Key, Nonce: a.Nonce, AAD: []byte{},
		HashAlg: content.SHA256, ContentHash: a.Hash, Filename: a.Name}
	if s := got.Expires / 1000; s > 0 && s < 1<<32 {
		x.Expires = uint32(s)
	}
	return x
}

func (a *attachment) message(x content.ExternalPart) *content.Message {
	body := content.Attach(x)
	if a.with != nil {
		m := *a.with // sender and room are filled in when it is queued
		if words, ok := m.Body.Content.(content.SinglePart); ok && len(words.Content) == 0 {
			m.Body = body
			return &m
		}
		m.Body = content.Multi(content.ProcessAll, m.Body, body)
		return &m
	}
	if a.Text != "" {
		body = content.Multi(content.ProcessAll, content.Text(a.Text), body)
	}
	return content.New(content.Origin{}, body)
}

// append sends octets of an asset. What of them was taken, the answer says, or, if there
// is none, the provider when it is asked.
func (p *provider) append(ctx context.Context, hash string, offset int64, body *io.SectionReader, progress func(int64)) (*clientapi.Asset, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(stallTime, func() { cancel(fmt.Errorf("the provider takes nothing for %v: %w", stallTime, ErrUnreachable)) })
	defer quiet.Stop()
	at := offset
	r := &watched{body, func(n int) {
		quiet.Reset(stallTime)
		at += int64(n)
		progress(at)
	}}
	out := new(clientapi.Asset)
	resp, err := p.request(ctx, http.MethodPatch, "/v1/assets/"+hash, r, func(req *http.Request) {
		req.ContentLength = body.Size()
		req.Header.Set("Content-Type", clientapi.TypeUpload)
		req.Header.Set(clientapi.HeaderUploadOffset, strconv.FormatInt(offset, 10))
		req.Header.Set("Accept", "application/json")
	})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return out, decodeAnswer(resp, "uploading", out)
}

// watched is a reader that tells how far it is.
type watched struct {
	io.Reader
	read func(n int)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.read(n)
	}
	return n, err
}
