package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
)

// Sender brings a code to who holds an identifier. Send returns nil when somebody has taken
// the message on who will deliver it. It may be called from several goroutines, and ends
// when its context does.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// ErrRefused: the identifier's server or gateway does not take the message, and will not
// later. Other errors of a Sender may pass.
var ErrRefused = errors.New("authority: the address was refused")

// Message is a code on its way.
type Message struct {
	// To is where it goes: a mail address without a scheme, or a number beginning with +.
	To     string
	Method discovery.Method
	Code   string
	// User is the URI of who has asked, and Authority the own domain.
	User, Authority string
	// Made and Expires are when the code begins and ends.
	Made, Expires time.Time
}

// messageTo is the destination that an identifier names.
func messageTo(s discovery.SII) string {
	_, to, _ := strings.Cut(s.String(), ":")
	return to
}

// Text is what the person reads. The user's name is the only part that somebody else has
// chosen: a URI, which has no spaces and no line breaks.
func (m *Message) Text() string {
	return fmt.Sprintf("Code: %s %s\n\n"+
		"%s\nasks %s to confirm that this address or number is theirs. If that is you, enter the code within %d minutes. "+
		"If it is not you, do nothing, and tell nobody the code: whoever enters it is found under your address.\n",
		m.Code[:len(m.Code)/2], m.Code[len(m.Code)/2:], m.User, m.Authority, int(m.Expires.Sub(m.Made).Minutes()))
}
