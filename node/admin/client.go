package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
)

// maxAnswer bounds what a client reads.
const maxAnswer = 64 << 20

// Client talks to a running node. Safe for concurrent use. Its methods return
// *clientapi.Problem where the node refuses, and ErrNotRunning when it has gone.
type Client struct {
	http *http.Client
}

// Dial returns a Client for the node that runs on a data directory. Errors:
// ErrNotRunning, ErrDenied.
func Dial(ctx context.Context, dir string) (*Client, error) {
	path := filepath.Join(dir, SocketName)
	c := NewClient(func(ctx context.Context) (net.Conn, error) { return dial(ctx, path) })
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	_ = conn.Close()
	return c, nil
}

// NewClient returns a Client whose connections come from a function, for a node that has no
// socket (Config.Listener).
func NewClient(dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       1,
	}}}
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	d.Timeout = 5 * time.Second
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		return conn, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (nobody answers on %s): start it with \"mimid serve\", or name its data directory", ErrNotRunning, path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: %s: run the command as the user that the node runs as", ErrDenied, path)
	}
	return nil, fmt.Errorf("connecting to the node on %s: %w", path, err)
}

// Close frees the connection.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request; in and out may be nil.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encoding request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return fmt.Errorf("making request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL says nothing that helps
		}
		return fmt.Errorf("asking the node: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the node's answer: %w", err)
	}
	if res.StatusCode/100 != 2 {
		return refusal(res, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return nil
}

func refusal(res *http.Response, b []byte) error {
	p := &clientapi.Problem{}
	if t, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); t != "application/problem+json" || json.Unmarshal(b, p) != nil || p.Detail == "" {
		return fmt.Errorf("%w: status %s", ErrAnswer, res.Status)
	}
	return p
}

func get[T any](ctx context.Context, c *Client, method, path string, in any) (*T, error) {
	out := new(T)
	if err := c.do(ctx, method, path, in, out); err != nil {
		return nil, err
	}
	return out, nil
}

func query(path string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" && pairs[i+1] != "0" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return path
}

// Status says how the node is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return get[Status](ctx, c, "GET", "/status", nil)
}

// CreateInvite makes an invite and returns it with its code.
func (c *Client) CreateInvite(ctx context.Context, n NewInvite) (*Invite, error) {
	return get[Invite](ctx, c, "POST", "/invites", n)
}

// Invites lists invites that have not expired.
func (c *Client) Invites(ctx context.Context) ([]Invite, error) {
	out, err := get[InviteList](ctx, c, "GET", "/invites", nil)
	if err != nil {
		return nil, err
	}
	return out.Invites, nil
}

// RevokeInvite removes an invite.
func (c *Client) RevokeInvite(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", "/invites/"+url.PathEscape(id), nil, nil)
}

// Users lists users behind a name; limit 0 stands for 100.
func (c *Client) Users(ctx context.Context, after string, limit int) (*UserList, error) {
	return get[UserList](ctx, c, "GET", query("/users", "after", after, "limit", strconv.Itoa(limit)), nil)
}

// Rooms lists rooms behind an id; limit 0 stands for 100.
func (c *Client) Rooms(ctx context.Context, after string, limit int) (*RoomList, error) {
	return get[RoomList](ctx, c, "GET", query("/rooms", "after", after, "limit", strconv.Itoa(limit)), nil)
}

// Room shows a room by its id or the beginning of it.
func (c *Client) Room(ctx context.Context, id string) (*Room, error) {
	return get[Room](ctx, c, "GET", "/rooms/"+url.PathEscape(id), nil)
}

// MoveRoom hands a room over to another provider, and returns when that orders it.
func (c *Client) MoveRoom(ctx context.Context, id, target string) (*Moved, error) {
	return get[Moved](ctx, c, "POST", "/rooms/"+url.PathEscape(id)+"/move", Move{target})
}

// RejoinRoom has the node follow a room again that was moved away from before the end of what
// it has, which it keeps as a lost branch.
func (c *Client) RejoinRoom(ctx context.Context, id string) (*Room, error) {
	return get[Room](ctx, c, "POST", "/rooms/"+url.PathEscape(id)+"/rejoin", nil)
}

// Branch is Log of a branch of a room that was lost by a move, by its number.
func (c *Client) Branch(ctx context.Context, id string, branch uint32, from uint64, limit int) (*LogPage, error) {
	return get[LogPage](ctx, c, "GET", query("/rooms/"+url.PathEscape(id)+"/log", "branch", strconv.FormatUint(uint64(branch), 10),
		"from", strconv.FormatUint(from, 10), "limit", strconv.Itoa(limit)), nil)
}

// Log shows a piece of a room's log; limit 0 stands for 100.
func (c *Client) Log(ctx context.Context, id string, from uint64, limit int) (*LogPage, error) {
	return get[LogPage](ctx, c, "GET", query("/rooms/"+url.PathEscape(id)+"/log",
		"from", strconv.FormatUint(from, 10), "limit", strconv.Itoa(limit)), nil)
}

// Peers lists the providers that the node knows.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	out, err := get[PeerList](ctx, c, "GET", "/peers", nil)
	if err != nil {
		return nil, err
	}
	return out.Peers, nil
}

// Pin decides for one key of a provider, by its fingerprint.
func (c *Client) Pin(ctx context.Context, domain, fingerprint string) error {
	return c.do(ctx, "POST", "/peers/"+url.PathEscape(domain)+"/pin", Pin{fingerprint}, nil)
}

// Forget makes the node trust a provider anew, as if it had never heard of it.
func (c *Client) Forget(ctx context.Context, domain string) error {
	return c.do(ctx, "DELETE", "/peers/"+url.PathEscape(domain)+"/pin", nil, nil)
}

// RotateKey gives the provider a new key.
func (c *Client) RotateKey(ctx context.Context) (*Rotated, error) {
	return get[Rotated](ctx, c, "POST", "/key/rotate", nil)
}

// Verify checks the whole store, which takes as long as reading it.
func (c *Client) Verify(ctx context.Context) (*Verification, error) {
	return get[Verification](ctx, c, "POST", "/verify", nil)
}
