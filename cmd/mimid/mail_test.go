package main

import (
	"errors"
	"io"
	"log"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/emersion/go-smtp"
	"github.com/rogpeppe/go-internal/testscript"
)

// mailserver VAR FILE starts a mail server on this machine, sets the variable to its address,
// and adds the texts of the mails that it gets to the file, each after a line with its
// recipient.
func mailserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mailserver VAR FILE")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	srv := smtp.NewServer(&mailbox{file: ts.MkAbs(args[1])})
	srv.Domain, srv.ErrorLog = "mail.example", log.New(io.Discard, "", 0)
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	ts.Defer(func() {
		srv.Close()
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			ts.Logf("mail server: %v", err)
		}
	})
	ts.Setenv(args[0], l.Addr().String())
}

// mailcode VAR FILE ADDRESS sets a variable to the code in the last mail to an address.
func mailcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: mailcode VAR FILE ADDRESS")
	}
	all := strings.Split(ts.ReadFile(args[1]), "To: ")
	for i := len(all) - 1; i >= 0; i-- {
		if to, text, _ := strings.Cut(all[i], "\n"); to == args[2] {
			if m := regexp.MustCompile(`Code: (\d{4}) (\d{4})\s`).FindStringSubmatch(text); m != nil {
				ts.Setenv(args[0], m[1]+m[2])
				return
			}
		}
	}
	ts.Fatalf("no mail with a code to %s", args[2])
}

type mailbox struct {
	file string
	mu   sync.Mutex // one mail is written at a time
}

func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &mailing{b: b}, nil }

type mailing struct {
	b  *mailbox
	to string
}

func (m *mailing) Reset()                                    { m.to = "" }
func (m *mailing) Logout() error                             { return nil }
func (m *mailing) Mail(string, *smtp.MailOptions) error      { return nil }
func (m *mailing) Rcpt(to string, _ *smtp.RcptOptions) error { m.to = to; return nil }

func (m *mailing) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(quotedprintable.NewReader(msg.Body))
	if err != nil {
		return err
	}
	m.b.mu.Lock()
	defer m.b.mu.Unlock()
	f, err := os.OpenFile(m.b.file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString("To: " + m.to + "\n" + string(text) + "\n")
	return errors.Join(err, f.Close())
}
