package client

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/mimid/mimid/protocol/asset"
	"github.com/mimid/mimid/protocol/content"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// AssetPolicy says what may be attached in a room, see policy.Assets.
type AssetPolicy = policy.Assets

// What an AssetPolicy is made of.
type (
	MediaType     = policy.MediaType
	UploadDomains = policy.UploadDomains
	// Download is a way of fetching what is attached.
	Download = policy.Download
)

// The ways that MIMI has. Nothing is fetched directly here: who keeps a file would see who
// fetches it.
const (
	DownloadDirect = policy.DownloadDirect
	DownloadProxy  = policy.DownloadProxy
	DownloadOHTTP  = policy.DownloadOHTTP
)

// NewAssetPolicy is one that lets anything be attached.
func NewAssetPolicy() *AssetPolicy {
	return &AssetPolicy{Default: policy.DownloadProxy, MaxImage: math.MaxUint64, MaxAudio: math.MaxUint64, MaxVideo: math.MaxUint64, MaxAttached: math.MaxUint64}
}

// ParseMediaType reads a media type such as image/png. Error: policy.ErrComponent.
func ParseMediaType(s string) (MediaType, error) { return policy.ParseMediaType(s) }

// ParseUploads reads where files are to be uploaded: unspecified, localProvider or hub.
func ParseUploads(s string) (policy.UploadLocation, error) { return policy.ParseUploadLocation(s) }

// attaches judges what a message has attached by the room's asset_policy (room-policy
// section 8.4): its type, its size and where it is. Only devices can: providers see neither
// what something is nor who has sent it. Who sends something all the same is not silenced by
// it, since the rest of the message is harmless; nobody fetches what it has attached.
// Error: *policy.Refusal.
func (r *roomState) attaches(sender uri.User, m *content.Message) error {
	p, err := room.PoliciesOf(r.group.Public().Context())
	if err != nil || p.Assets == nil {
		return err
	}
	for _, part := range m.Parts() {
		if err := r.attached(p.Assets, sender, part); err != nil {
			return err
		}
	}
	return nil
}

// attached judges one part of a message.
func (r *roomState) attached(p *policy.Assets, sender uri.User, part content.Part) error {
	x, ok := part.Content.(content.ExternalPart)
	if !ok || part.Disposition == content.Session {
		return nil
	}
	kind, err := policy.ParseMediaType(x.MediaType)
	if err != nil && (len(p.Forbidden) > 0 || p.PermitSet) {
		return &policy.Refusal{Why: fmt.Sprintf("%.64q is no media type, and not all are allowed in this room", x.MediaType)}
	}
	host, err := asset.Host(x.URL)
	if err == nil {
		err = p.Allows(kind, part.Disposition == content.Render, x.Size)
	}
	if err == nil {
		err = p.From(sender.Provider().Domain(), r.Lead.Hub.Domain, host)
	}
	return err
}

// foreseen is what the message of an attachment will say, as far as that is known before the
// provider has it: it is kept by this user's provider.
func (a *attachment) foreseen(u uri.User) *content.Message {
	return a.message(content.ExternalPart{MediaType: a.MediaType, Size: uint64(a.Size), URL: asset.Location{Domain: u.Provider().Domain()}.URL()})
}

// mayFetch says whether a room's policy lets an attachment be fetched that somebody has sent,
// how large what is stored of it may be, and in which way. Of a room that this device has left
// nothing is known. Errors: ErrRefused.
func (c *Client) mayFetch(ctx context.Context, q *Fetch, sender uri.User, part content.Part) (way *passage, err error) {
	err = c.do(ctx, func() (error, error) {
		c.untouched()
		r := c.roomOf(q.Room)
		if r == nil || r.group == nil {
			way = &passage{most: asset.MaxSize}
			if q.Oblivious {
				return fmt.Errorf("this device is not in the room any more, and does not know who orders it: %w", ErrRefused), nil
			}
			return nil, nil
		}
		p, err := room.PoliciesOf(r.group.Public().Context())
		if err != nil {
			return err, nil
		}
		if p.Assets != nil {
			err = r.attached(p.Assets, sender, part)
		}
		if err == nil {
			way, err = r.way(p.Assets, c.user.Provider().Domain(), part, q.Oblivious)
		}
		if errors.As(err, new(*policy.Refusal)) {
			err = fmt.Errorf("%w: %w", err, ErrRefused)
		}
		return err, nil
	})
	return way, err
}
