package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/simulations"
	"github.com/mimid/mimid/simulations/load"
)

// usageError says what is wrong with a value of the command line: exit code 2.
type usageError string

func (e usageError) Error() string { return string(e) }

// grammarError is a command line that could not be read: exit code 2.
type grammarError struct{ error }

// codeOf tells the exit code of an error, see main.go.
func codeOf(err error) int {
	var usage usageError
	var grammar grammarError
	switch {
	case errors.As(err, &usage), errors.As(err, &grammar), errors.Is(err, client.ErrURL), errors.Is(err, load.ErrConfig), errors.Is(err, simulations.ErrScenario):
		return 2
	case certificate(err) != "", errors.Is(err, client.ErrNoProvider), speaksHTTP(err):
		return 1 // trying again is of no use
	case client.Unreachable(err), errors.Is(err, admin.ErrNotRunning), errors.Is(err, context.DeadlineExceeded):
		return 3
	case client.Refused(err):
		return 4
	}
	return 1
}

// fault is an error as --json shows it.
type fault struct {
	Error  string `json:"error"`
	Advice string `json:"advice,omitempty"`
	Code   int    `json:"exit_code"`
}

// complain says on standard error what went wrong and, where it is known, what to do.
func complain(w io.Writer, asJSON bool, err error, code int) {
	f := fault{Error: err.Error(), Advice: advice(err), Code: code}
	if !asJSON {
		fmt.Fprintln(w, "mimid:", printable(f.Error, "  "))
		if f.Advice != "" {
			fmt.Fprintln(w, f.Advice)
		}
		return
	}
	if b, err := json.Marshal(f); err == nil { // texts and a number: it is nil
		fmt.Fprintf(w, "%s\n", b)
	}
}

// advice says what a person can do about an error that does not say so itself.
func advice(err error) string {
	text := err.Error()
	var grammar grammarError
	if a := certificate(err); a != "" {
		return a
	}
	switch {
	case errors.As(err, &grammar):
		return "mimid --help lists the commands."
	case errors.Is(err, client.ErrURL):
		return "A provider's URL begins with https://, or with http:// on this machine."
	case errors.Is(err, client.ErrRegistered):
		return "One directory holds one device. Use it as it is, or name another directory with --dir."
	case errors.Is(err, client.ErrNotRegistered):
		return "Register first: mimid client register --help"
	case errors.Is(err, client.ErrNoConsent):
		return "Ask with `mimid client contact WHO`, and add them when they have accepted."
	case errors.Is(err, client.ErrNoKeyPackage):
		return "Try again when one of their devices has been online."
	case errors.Is(err, disk.ErrInUse):
		return "One program at a time uses a device. End the other, perhaps a chat, and try again."
	case speaksHTTP(err):
		return "The server speaks http at this address, not https. Check the URL with the provider's operator."
	case errors.Is(err, client.ErrNoProvider), strings.Contains(text, "not by a provider as it seems"), strings.Contains(text, "there is no such path in this API"):
		return "Check the URL: it is the provider's client API, without a path, such as https://chat.atlanta.example."
	case errors.Is(err, client.ErrUnreachable):
		return "Check the URL and the network, or try again later."
	}
	return ""
}

// speaksHTTP says that a server does not speak https. net/http has no sentinel for it.
func speaksHTTP(err error) bool {
	return strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// certificate says what is wrong with a server's certificate; empty if that is not
// what is wrong.
func certificate(err error) string {
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		return "The server's certificate belongs to another name: the URL is wrong, or somebody else answers. Ask the provider's operator."
	case errors.As(err, &unknown):
		return "Nobody whom this machine trusts vouches for the server's certificate. Ask the provider's operator before going on."
	case errors.As(err, &invalid):
		return "The server's certificate is not valid now: check this machine's clock, then ask the provider's operator."
	}
	return ""
}
