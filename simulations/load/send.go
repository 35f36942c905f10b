package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/wire"
)

// connection is one of the sender's: a request, then its answer. net/http's client
// would take as much of the machine as the provider does.
type connection struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dial(ctx context.Context, address string) (*connection, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting the sender: %w", err)
	}
	return &connection{conn: conn, in: bufio.NewReader(conn)}, nil
}

// send submits a message until the hub has taken it.
func (c *connection) send(ctx context.Context, f *flight, i int) error {
	c.out = f.w.post(c.out[:0], f.request(i), f.nonces[i])
	for {
		err := c.try()
		var p *clientapi.Problem
		if errors.As(err, &p) && (p.Code == clientapi.CodeTooMany || p.Code == clientapi.CodeUnavailable) {
			f.retries.Add(1)
			select {
			case <-time.After(time.Duration(max(p.Retry, 1)) * time.Millisecond):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return fmt.Errorf("sending message %d: %w", i, err)
		}
		f.answered[i] = uint32(max(0, f.now()-f.due[i].Load()) / 1000)
		f.accepted.Add(1)
		return nil
	}
}

func (c *connection) try() error {
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	res.Body.Close()
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res.StatusCode, b)
	}
	var s clientapi.SubmittedMessage
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	m, err := wire.ParseSubmitMessageResponse(s.Response, wire.Limits{})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if m.Code != wire.SubmitAccepted {
		return fmt.Errorf("%w: %s", ErrRefused, m.Code)
	}
	return nil
}

// fly sends the messages of a flight on so many connections; next gives the number of
// the next one to whoever is free, and -1 when there is none.
func (f *flight) fly(ctx context.Context, connections int, next func(ctx context.Context) int) error {
	g, ctx := errgroup.WithContext(ctx)
	for range connections {
		g.Go(func() error {
			// Dialed with the first message: a server ends a connection on which
			// nobody asks for ten seconds.
			i := next(ctx)
			if i < 0 {
				return nil
			}
			c, err := dial(ctx, f.w.sender.address())
			if err != nil {
				return err
			}
			defer c.conn.Close()
			end := context.AfterFunc(ctx, func() { c.conn.SetDeadline(time.Unix(1, 0)) })
			defer end()
			for ; i >= 0; i = next(ctx) {
				if err := c.send(ctx, f, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}
