// Command mimid is a messaging provider's node, the operator's tool for it, and a
// client for its users. It holds flags and printing only.
//
// Read main.go (the grammar of the command line, exit codes), output.go and fault.go
// (how results and errors are shown), serve.go, operator.go and backup.go (the node and its operator),
// client.go, talk.go and chat.go (a user's device), abuse.go (reports of abuse, from both ends), demo.go and its neighbours (the demo,
// which runs the other commands as processes).
//
// # Exit codes
//
//	0  it worked
//	1  it did not; standard error says why and what to do
//	2  the command line is wrong
//	3  the node, or the other provider, cannot be reached: try again later; a
//	   message is kept, and goes out without being sent again
//	4  refused: a rule or a person says no
//
// # JSON
//
// With --json standard output is one object per line, and an error is one object on
// standard error: error, advice (what to do, where it is known) and exit_code.
// Logs and warnings stay as they are.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// grammar is the command line.
type grammar struct {
	JSON bool `help:"Print results as JSON, one object per line." env:"MIMID_JSON"`

	Demo      demoCommand      `cmd:"" help:"Run three providers and five users on this machine and show what they do."`
	Bench     benchCommand     `cmd:"" help:"Put a load on providers on this machine and measure them."`
	Sim       simCommand       `cmd:"" help:"Simulate networks that do not exist, and measure them."`
	Init      initCommand      `cmd:"" help:"Make the data directory of a new provider." group:"Provider"`
	Serve     serveCommand     `cmd:"" help:"Run a provider's node." group:"Provider"`
	Account   accountCommand   `cmd:"" help:"Invite users and list them." group:"Provider"`
	Room      roomCommand      `cmd:"" help:"Look at the rooms that the provider keeps." group:"Provider"`
	Drain     drainCommand     `cmd:"" help:"Hand every room that the provider orders over to others." group:"Provider"`
	Abuse     abuseCommand     `cmd:"" help:"Look at reports of abuse and resolve them." group:"Provider"`
	Peers     peersCommand     `cmd:"" help:"List the other providers, pin or forget their keys." group:"Provider"`
	Status    statusCommand    `cmd:"" help:"Say how the running node is." group:"Provider"`
	Doctor    doctorCommand    `cmd:"" help:"Examine the running node: its health, and what it exposes." group:"Provider"`
	Verify    verifyCommand    `cmd:"" help:"Check a store from end to end." group:"Provider"`
	Backup    backupCommand    `cmd:"" help:"Copy everything that a provider has into one file." group:"Provider"`
	Restore   restoreCommand   `cmd:"" help:"Make a data directory from a backup." group:"Provider"`
	Key       keyCommand       `cmd:"" help:"Change the provider key." group:"Provider"`
	Onion     onionCommand     `cmd:"" help:"Look at the onion overlay, which hides who sends to whom." group:"Provider"`
	Evaluator evaluatorCommand `cmd:"" help:"Keep identifiers from being guessed: the key of the network's evaluators." group:"Provider"`
	Client    clientCommand    `cmd:"" help:"Be a user: register, find people, talk." group:"User"`
	Chat      chatCommand      `cmd:"" help:"Talk in a room, line by line." group:"User"`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

// session is what commands get beside their flags.
type session struct {
	ctx  context.Context
	out  *output
	in   io.Reader
	errw io.Writer
}

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main with everything passed in.
func run(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var g grammar
	code := -1
	parser, err := kong.New(&g,
		kong.Name("mimid"),
		kong.Description("A messaging provider's node, its operator's tool, and a client for its users.\n\nTo see it at work: mimid demo"),
		kong.Writers(out, errw),
		kong.Exit(func(c int) { code = c }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"data": defaultData(), "client_data": defaultClientData()},
	)
	if err != nil {
		fmt.Fprintln(errw, "mimid:", err)
		return 1
	}
	k, err := parser.Parse(args)
	if code >= 0 { // help was asked for
		return code
	}
	if err != nil {
		complain(errw, g.JSON || wantsJSON(args), grammarError{err}, 2)
		return 2
	}
	s := &session{ctx: ctx, out: &output{w: out, json: g.JSON}, in: in, errw: errw}
	if err := k.Run(s); err != nil {
		var silent exitCode
		if errors.As(err, &silent) {
			return int(silent)
		}
		complain(errw, g.JSON, err, codeOf(err))
		return codeOf(err)
	}
	return 0
}

// wantsJSON looks for --json in a command line that could not be read.
func wantsJSON(args []string) bool {
	if v := os.Getenv("MIMID_JSON"); v == "1" || v == "true" {
		return true
	}
	for _, a := range args {
		flag, value, given := strings.Cut(a, "=")
		switch {
		case flag == "--json":
			yes, err := strconv.ParseBool(value)
			return !given || yes || err != nil
		case a == "--":
			return false
		}
	}
	return false
}

// exitCode ends the program with a code, after everything has been said.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

type versionCommand struct{}

func (versionCommand) Help() string { return "Example:\n  mimid version" }

func (versionCommand) Run(s *session) error {
	return s.out.result(map[string]string{"version": version()}, func(w io.Writer) { fmt.Fprintln(w, "mimid", version()) })
}

// version is the module's, or the commit that the program was built from.
func version() string {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := b.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range b.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel " + s.Value[:12]
		}
	}
	return "devel"
}
