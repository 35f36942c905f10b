package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// ErrName: what a person typed names no user or room, or more than one.
var ErrName = errors.New("client: no such name")

// ParseUser reads a user as people write it: alice@atlanta.example, or the URI.
func ParseUser(s string) (uri.User, error) {
	u, err := uri.ParseShort(s)
	if strings.HasPrefix(s, "mimi:") {
		u, err = uri.ParseUser(s)
	}
	if err != nil {
		return u, fmt.Errorf("%q is not a user such as alice@atlanta.example: %w: %w", s, err, ErrName)
	}
	return u, nil
}

// IsIdentifier says whether a text begins like an identifier that users publish.
func IsIdentifier(s string) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(s), ":")
	return scheme == "tel" || scheme == "mailto" || scheme == "handle"
}

// ParseRoom reads the URI of a room, which need not be one of this client's.
func ParseRoom(s string) (uri.Room, error) {
	u, err := uri.ParseRoom(s)
	if name, _, cut := strings.Cut(s, "?"); err != nil && cut {
		return u, fmt.Errorf("what begins with %.255q may be a join link; `mimid client room join` takes it, and a room's URI is what stands before the question mark: %w", name, ErrName)
	}
	if err != nil {
		return u, fmt.Errorf("%.255q is no room's URI, such as mimi://atlanta.example/r/clubhouse: %w", s, ErrName)
	}
	return u, nil
}

// FindRoom finds one of this client's rooms by its URI, its name, or the beginning
// of its id or of its URI's last part; a direct room by the other user, and by nothing that
// others could call a room. Of a direct room that has yielded it returns the one that goes on.
func (c *Client) FindRoom(ctx context.Context, s string) (Room, error) {
	all, err := c.Rooms(ctx)
	if err != nil {
		return Room{}, err
	}
	if who, err := ParseUser(s); err == nil {
		return directOf(all, who)
	}
	var found []Room
	for _, r := range all {
		id := room.IDOf([]byte(r.URI.String())).String()
		exact := r.URI.String() == s
		if !exact && (s == "" || r.Name != s && !strings.HasPrefix(id, s) && !strings.HasPrefix(r.URI.Name(), s)) {
			continue
		}
		if i := slices.IndexFunc(all, func(x Room) bool { return x.URI == r.Successor }); i >= 0 {
			r = all[i]
		}
		if exact {
			return r, nil
		}
		if !slices.ContainsFunc(found, func(x Room) bool { return x.URI == r.URI }) {
			found = append(found, r)
		}
	}
	// What was left is called as it was then, and does not stand in the way of what is there.
	if now := slices.DeleteFunc(slices.Clone(found), func(r Room) bool { return r.State == roomLeft }); len(now) > 0 {
		found = now
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		for _, q := range []string{"?join=", "?pseudonymous="} { // before the secret of a link
			s, _, _ = strings.Cut(s, q)
		}
		return Room{}, fmt.Errorf("there is no room %q; `mimid client room list` shows all: %w", s, ErrName)
	}
	var names []string
	for _, r := range found {
		names = append(names, r.URI.String())
	}
	return Room{}, fmt.Errorf("%q may be any of %s: %w", s, strings.Join(names, ", "), ErrName)
}

// directOf returns the direct room with a user: the one that goes on, else one that was left.
func directOf(all []Room, who uri.User) (Room, error) {
	var left *Room
	for i, r := range all {
		switch {
		case r.Direct != who || !r.Successor.IsZero():
		case r.State == roomJoined:
			return r, nil
		case left == nil || left.State == roomLeft:
			left = &all[i]
		}
	}
	if left == nil {
		return Room{}, fmt.Errorf("there is no direct room with %s; `mimid client room direct %s` makes one: %w", who.Short(), who.Short(), ErrName)
	}
	return *left, nil
}

// Refused says that a rule or a person said no: trying again is of no use.
func Refused(err error) bool {
	var p *clientapi.Problem
	return errors.Is(err, ErrRefused) || errors.Is(err, ErrNoConsent) ||
		errors.As(err, &p) && (p.Status == 401 || p.Status == 403 || p.Status == 409)
}

// Unreachable says that the provider, or one behind it, does not answer: trying
// again later may help.
func Unreachable(err error) bool {
	var p *clientapi.Problem
	return errors.Is(err, ErrUnreachable) || errors.As(err, &p) && p.Status >= 502
}
