package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// Attachment is a file that came with a message.
type Attachment struct {
	// Name is one under which it can be saved in a folder, see content.SafeFilename.
	Name string
	// MediaType and Description are the sender's words, with control characters and all.
	MediaType, Description string
	// Size is that of the content, as the sender says; 0 if it does not.
	Size int64
	// Expires is when its provider deletes it, zero for never or unknown.
	Expires time.Time
}

// Attachments lists the files that came with a message.
func Attachments(m *Content) (out []Attachment) {
	for _, p := range externals(m) {
		x := p.Content.(content.ExternalPart)
		a := Attachment{Name: x.SafeFilename(), MediaType: x.MediaType, Description: x.Description, Size: int64(min(x.Size, asset.MaxSize))}
		if x.Expires > 0 {
			a.Expires = time.Unix(int64(x.Expires), 0)
		}
		out = append(out, a)
	}
	return out
}

// externals are the parts of a message that are an ExternalPart.
func externals(m *Content) (out []content.Part) {
	if m == nil {
		return nil
	}
	for _, p := range m.Parts() {
		if _, ok := p.Content.(content.ExternalPart); ok && p.Disposition != content.Session {
			out = append(out, p)
		}
	}
	return out
}

// FetchLimit is the largest content that is fetched if nothing else is said.
const FetchLimit = 1 << 30

// Fetch is what is to be fetched.
type Fetch struct {
	Room  uri.Room
	Index uint64 // of the message
	Part  int    // which of its attachments, 0 for the first
	// Limit is the largest content, FetchLimit if zero.
	Limit int64
	// Oblivious asks for a download by which the own provider does not learn what is fetched,
	// nor the room's hub by whom: see package ohttp for what it hides. It is done anyway where
	// the room's policy says so. Refused where the own provider orders the room.
	Oblivious bool
	// Progress, if not nil, is called now and then with how many octets are here of how
	// many.
	Progress func(here, size int64)
}

// FetchAttachment fetches a file that came with a message, checks that it is the one that
// its sender encrypted, and then writes it to w: never anything else, though a part of it
// if w fails, or if the files of this device change meanwhile, which is an error. What of
// it came is kept until it is whole: after an error the next call goes on from there.
//
// Errors: ErrNoSpool, ErrNoMessage, ErrNoAttachment, ErrRefused where the room's policy does
// not allow it, asset.ErrTooLarge, asset.ErrDamaged,
// ErrUnreachable, what the provider refused, ErrStorage, and those of w.
func (c *Client) FetchAttachment(ctx context.Context, q Fetch, w io.Writer) (*Attachment, error) {
	a, err := c.fetchAttachment(ctx, &q, w)
	if err != nil {
		return nil, fmt.Errorf("fetching the attachment of message %d: %w", q.Index, err)
	}
	return a, nil
}

// incoming is a file that is being fetched.
type incoming struct {
	f      SpoolFile
	api    *provider
	room   room.ID
	uri    string // the room's
	url    string
	way    *passage
	secret asset.Secret
	hash   asset.Hash
	sizes  [2]int64 // that what is stored may have; the second one 0 for no other
	limit  int64
	check  *asset.Check
	tell   func(here, size int64)
	total  int64 // as the provider has said
}

func (c *Client) fetchAttachment(ctx context.Context, q *Fetch, w io.Writer) (*Attachment, error) {
	if c.cfg.Spool == nil {
		return nil, ErrNoSpool
	}
	part, sender, err := c.externalOf(q)
	if err != nil {
		return nil, err
	}
	x := part.Content.(content.ExternalPart)
	in := &incoming{room: room.IDOf([]byte(q.Room.String())), uri: q.Room.String(), url: x.URL, limit: q.Limit, tell: q.Progress}
	if in.limit <= 0 {
		in.limit = FetchLimit
	}
	if in.tell == nil {
		in.tell = func(int64, int64) {}
	}
	if err := in.read(&x); err != nil {
		return nil, err
	}
	if in.way, err = c.mayFetch(ctx, q, sender, part); err != nil {
		return nil, err
	}
	in.limit = min(in.limit, in.way.most)
	if _, in.api, err = c.self(ctx); err != nil {
		return nil, err
	}
	name := downloadPrefix + in.hash.String()
	if !c.fetching.enter(name) {
		return nil, fmt.Errorf("it is being fetched already: %w", ErrNotReady)
	}
	defer c.fetching.leave(name)
	if in.f, err = c.cfg.Spool.Open(name); err != nil {
		return nil, fmt.Errorf("keeping what comes: %w: %w", ErrStorage, err)
	}
	defer in.f.Close()
	if err := c.download(ctx, in); err != nil {
		if errors.Is(err, asset.ErrDamaged) || errors.Is(err, asset.ErrTooLarge) {
			err = errors.Join(err, c.cfg.Spool.Remove(name))
		}
		return nil, err
	}
	// It has been found right; now that it is decrypted it is compared once more, so that
	// nobody can change the file in between.
	size := in.check.Size()
	if err := asset.Open(w, io.NewSectionReader(in.f, 0, size), size, in.secret, in.hash); err != nil {
		return nil, err
	}
	if err := c.cfg.Spool.Remove(name); err != nil {
		c.log.Warn("removing an attachment that was fetched", "error", err)
	}
	out := Attachments(&Content{Body: part})[0]
	out.Size = size - asset.TagSize
	return &out, nil
}

// externalOf finds what a message says of an attachment, and who says it.
func (c *Client) externalOf(q *Fetch) (part content.Part, sender uri.User, err error) {
	list, err := c.Messages(q.Room, q.Index, 1)
	if err != nil {
		return part, sender, err
	}
	if len(list) == 0 || list[0].Index != q.Index {
		return part, sender, ErrNoMessage
	}
	all := externals(list[0].Content)
	switch {
	case len(all) == 0:
		return part, sender, fmt.Errorf("the message has no attachment: %w", ErrNoAttachment)
	case q.Part < 0 || q.Part >= len(all):
		return part, sender, fmt.Errorf("the message has %d attachments, and none of number %d: %w", len(all), q.Part+1, ErrNoAttachment)
	}
	return all[q.Part], list[0].Sender, nil
}

// read judges what the sender says of it.
func (in *incoming) read(x *content.ExternalPart) (err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf(format+": %w", append(args, ErrNoAttachment)...)
	}
	switch {
	case x.EncAlg != content.AES128GCM:
		return bad("it is encrypted by algorithm %d, and only AES-128-GCM (1) is understood; without any, whoever keeps it could read and change it", x.EncAlg)
	case x.HashAlg != content.SHA256 || len(x.ContentHash) != len(in.hash):
		return bad("its hash, of %d octets by algorithm %d, is no SHA-256 (1)", len(x.ContentHash), x.HashAlg)
	}
	if _, err := asset.Host(x.URL); err != nil {
		return bad("%w", err)
	}
	if in.secret, err = asset.SecretOf(x.Key, x.Nonce, x.AAD); err != nil {
		return bad("%w", err)
	}
	copy(in.hash[:], x.ContentHash)
	if x.Size > asset.MaxSize || int64(x.Size) > in.limit {
		return fmt.Errorf("%d octets, and at most %d are fetched: %w", x.Size, in.limit, asset.ErrTooLarge)
	}
	if x.Size > 0 {
		// The draft does not say whether the tag counts. We do not count it.
		in.sizes = [2]int64{int64(x.Size) + asset.TagSize, int64(x.Size)}
	}
	return nil
}

// download brings the rest of a file, and checks the whole.
func (c *Client) download(ctx context.Context, in *incoming) error {
	here, err := in.f.Size()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	if here > in.limit+asset.TagSize {
		here = 0
	}
	for fails := 0; ; {
		in.check = asset.NewCheck(in.secret)
		if _, err := io.Copy(in.check, io.NewSectionReader(in.f, 0, here)); err != nil {
			return fmt.Errorf("%w: %w", ErrStorage, err)
		}
		before := here
		bring := c.bringPart
		if in.way.gateway != "" {
			bring = c.bringOblivious
		}
		err := bring(ctx, in, &here)
		if err == nil {
			break
		}
		passing, wait := transient(err)
		if here > before {
			fails = 0
		}
		if fails++; !passing || fails > 5 || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, errAnew) {
			continue
		}
		timer := time.NewTimer(max(wait, c.cfg.Retry<<min(fails-1, 4)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
	if err := in.f.Truncate(in.check.Size()); err != nil {
		return fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return in.check.End(in.hash)
}

// errAnew says that what is here is of no use.
var errAnew = fmt.Errorf("the download begins anew: %w", ErrUnreachable)

// bringPart makes one request for what is missing; here is how much is not.
func (c *Client) bringPart(ctx context.Context, in *incoming, here *int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(stallTime, func() { cancel(fmt.Errorf("nothing comes for %v: %w", stallTime, ErrUnreachable)) })
	defer quiet.Stop()
	path := "/v1/download?room=" + in.room.String() + "&url=" + url.QueryEscape(in.url)
	resp, err := in.api.request(ctx, http.MethodGet, path, nil, func(req *http.Request) {
		req.Header.Set("Accept", "application/octet-stream")
		req.Header.Set("Accept-Encoding", "identity")
		if *here > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", *here))
		}
	})
	var p *clientapi.Problem
	if errors.As(err, &p) && p.Status == http.StatusRequestedRangeNotSatisfiable && *here > 0 {
		// It may have been whole, and the process ended before it was checked.
		if in.fits(*here) && in.whole() {
			return nil
		}
		*here = 0
		return errAnew
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := in.place(resp, here); err != nil {
		return err
	}
	if err := in.fitting(); err != nil {
		return err
	}
	body := io.LimitReader(resp.Body, in.total-*here)
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(body, buf)
		if n > 0 {
			quiet.Reset(stallTime)
			if _, err := in.f.WriteAt(buf[:n], *here); err != nil {
				return fmt.Errorf("keeping what comes: %w: %w", ErrStorage, err)
			}
			in.check.Write(buf[:n])
			*here += int64(n)
			in.tell(*here, in.total)
		}
		switch {
		case *here == in.total:
			return nil
		case err != nil:
			return fmt.Errorf("the download broke off at %d of %d octets: %w: %w", *here, in.total, ErrUnreachable, cmpCause(ctx, err))
		}
	}
}

func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// whole says whether what is here is all of it. Nothing of it is lost if it is not.
func (in *incoming) whole() bool {
	k := asset.NewCheck(in.secret)
	if _, err := io.Copy(k, io.NewSectionReader(in.f, 0, in.check.Size())); err != nil {
		return false
	}
	return k.End(in.hash) == nil
}

// fits says whether what is stored may have so many octets.
func (in *incoming) fits(n int64) bool {
	return n >= asset.TagSize && (in.sizes[0] == 0 || n == in.sizes[0] || n == in.sizes[1])
}

// fitting judges what the provider says is there.
func (in *incoming) fitting() error {
	if !in.fits(in.total) {
		return fmt.Errorf("%d octets are there, and the sender spoke of %d: %w", in.total, max(in.sizes[0]-asset.TagSize, 0), asset.ErrDamaged)
	}
	if in.total-asset.TagSize > in.limit {
		return fmt.Errorf("%d octets, and at most %d are fetched: %w", in.total, in.limit, asset.ErrTooLarge)
	}
	return nil
}

// place says where the octets of an answer belong.
func (in *incoming) place(resp *http.Response, here *int64) error {
	switch resp.StatusCode {
	case http.StatusOK:
		in.total = resp.ContentLength
		if *here > 0 { // the range was not understood
			*here = 0
			in.check = asset.NewCheck(in.secret)
		}
		return nil
	case http.StatusPartialContent:
		rest, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(*here, 10)+"-")
		last, total, cut := strings.Cut(rest, "/")
		to, err1 := strconv.ParseInt(last, 10, 64)
		size, err2 := strconv.ParseInt(total, 10, 64)
		if ok && cut && errors.Join(err1, err2) == nil && to == size-1 && size > *here && *here > 0 {
			in.total = size
			return nil
		}
	}
	return fmt.Errorf("asked for octets from %d, the answer is %d %.60q: %w", *here, resp.StatusCode, resp.Header.Get("Content-Range"), ErrProtocol)
}
