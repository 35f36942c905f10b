package authority

import (
	"context"
	"net"
)

// Dial has connections to the mail server made by fn.
func (s *SMTP) Dial(fn func(ctx context.Context, network, address string) (net.Conn, error)) {
	s.dial = fn
}
