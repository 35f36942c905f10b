package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"mimid": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the program as people do; see testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"field":  field,
			"within": within,
			"code":   code,

			"certificates": certificates,
			"https":        https,
			"throttle":     throttle,
			"port":         port,
			"mailserver":   mailserver,
			"mailcode":     mailcode,
		},
	})
}

// field NAME PATH sets a variable from the JSON that the last command printed;
// PATH is a field, or field.0 of a list.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: field NAME PATH")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("stdout is no JSON: %v", err)
	}
	for _, p := range strings.Split(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			var i int
			if _, err := fmt.Sscan(p, &i); err != nil || i >= len(x) {
				ts.Fatalf("%s: no element %s", args[1], p)
			}
			v = x[i]
		}
	}
	s, ok := v.(string)
	if !ok {
		ts.Fatalf("%s is %v, not a text", args[1], v)
	}
	ts.Setenv(args[0], s)
}

// code N COMMAND... runs a command that must end with the exit code N.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, not %s", got, args[0])
	}
}

// within runs a command again and again, for ten seconds, until it works, and with
// ! until it fails.
func within(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %v, for ten seconds", strings.Join(args, " "), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestHelp: every command says what it does and shows an example of itself.
func TestHelp(t *testing.T) {
	parser, err := kong.New(new(grammar), kong.Name("mimid"), kong.Vars{"data": "d", "client_data": "c"})
	if err != nil {
		t.Fatal(err)
	}
	help := func(path string) string {
		var out, errw strings.Builder
		code := run(append(strings.Fields(path), "--help"), strings.NewReader(""), &out, &errw)
		if code != 0 || errw.Len() > 0 {
			t.Errorf("%s --help: exit %d, %s", path, code, errw.String())
		}
		if text := out.String(); !strings.Contains(text, "--json") || !strings.HasPrefix(text, "Usage: mimid") {
			t.Errorf("%s --help:\n%s", path, text)
		}
		return out.String()
	}
	help("")
	leaves := parser.Model.Leaves(false)
	if len(leaves) < 30 {
		t.Fatalf("%d commands", len(leaves))
	}
	for _, n := range leaves {
		path := strings.TrimPrefix(n.FullPath(), "mimid ")
		_, example, ok := strings.Cut(help(path), "Example:")
		if !ok || !strings.Contains(example, "\n    mimid "+path) {
			t.Errorf("%s --help shows no example of itself", path)
		}
	}
}

// TestJSON: every command with --json says what is wrong as one object, with an exit
// code, and nothing else: without what it needs, with too much, and where nothing is.
func TestJSON(t *testing.T) {
	defer goleak.VerifyNone(t)
	parser, err := kong.New(new(grammar), kong.Name("mimid"), kong.Vars{"data": "d", "client_data": "c"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	for _, dir := range []string{"MIMID_DIR", "MIMID_CLIENT_DIR"} {
		t.Setenv(dir, "")
		os.Unsetenv(dir)
	}
	fault1 := func(args []string, codes ...int) {
		t.Helper()
		var out, errw strings.Builder
		code := run(args, strings.NewReader(""), &out, &errw)
		var f fault
		if err := json.Unmarshal([]byte(errw.String()), &f); err != nil || strings.Count(errw.String(), "\n") != 1 {
			t.Errorf("%s: %v: %s", strings.Join(args, " "), err, errw.String())
		}
		if f.Code != code || f.Error == "" || !slices.Contains(codes, code) || out.Len() > 0 {
			t.Errorf("%s: exit %d, expected %v: %s%s", strings.Join(args, " "), code, codes, errw.String(), out.String())
		}
	}
	for _, n := range parser.Model.Leaves(false) {
		path := strings.Fields(strings.TrimPrefix(n.FullPath(), "mimid "))
		fault1(append(slices.Clone(path), "--json", "--no-such-flag"), 2)
		if k := len(n.Positional); k == 0 || !n.Positional[k-1].IsCumulative() { // words of a message
			fault1(append(slices.Clone(path), append(strings.Fields(strings.Repeat("much ", 9)), "--json")...), 2)
		}
		needed := false
		for _, a := range n.Positional {
			needed = needed || a.Required
		}
		if needed {
			fault1(append(slices.Clone(path), "--json"), 2)
		}
		// As it should be called, but where there is neither a provider nor a device.
		args := append(slices.Clone(path), "--json")
		for _, a := range n.Positional {
			if a.Required {
				args = append(args, "x")
			}
		}
		dir := false
		for _, group := range n.AllFlags(false) {
			for _, fl := range group {
				if fl.Name == "dir" {
					dir = true
				} else if fl.Required {
					args = append(args, "--"+fl.Name, "x")
				}
			}
		}
		switch p := strings.Join(path, " "); {
		case p == "version", p == "demo", p == "init", path[0] == "bench", !dir:
			continue // these work, or have scripts of their own
		default:
			fault1(append(args, "--dir", filepath.Join(t.TempDir(), "nothing")), 1, 2, 3)
		}
	}
}
