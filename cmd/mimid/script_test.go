package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
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

// TestHelp: every command says what it does, and the ones with arguments show an
// example.
func TestHelp(t *testing.T) {
	for _, args := range [][]string{
		{}, {"demo"}, {"bench"}, {"init"}, {"serve"}, {"account", "invite"}, {"account", "list"}, {"room", "list"}, {"room", "show"}, {"room", "log"},
		{"peers", "list"}, {"peers", "pin"}, {"peers", "forget"}, {"status"}, {"verify"}, {"key", "rotate"}, {"version"}, {"chat"},
		{"client", "register"}, {"client", "whoami"}, {"client", "publish"}, {"client", "find"}, {"client", "contact"}, {"client", "requests"},
		{"client", "accept"}, {"client", "reject"}, {"client", "room", "create"}, {"client", "room", "list"}, {"client", "room", "show"},
		{"client", "room", "add"}, {"client", "room", "remove"}, {"client", "send"}, {"client", "read"}, {"client", "sync"}, {"client", "leave"},
	} {
		var out, errw strings.Builder
		code := run(append(args, "--help"), strings.NewReader(""), &out, &errw)
		if code != 0 || errw.Len() > 0 {
			t.Errorf("%v --help: exit %d, %s", args, code, errw.String())
		}
		text := out.String()
		if !strings.Contains(text, "--json") || !strings.HasPrefix(text, "Usage: mimid") {
			t.Errorf("%v --help:\n%s", args, text)
		}
		if strings.Contains(text, "<") && len(args) > 1 && !strings.Contains(text, "mimid "+strings.Join(args, " ")) {
			t.Errorf("%v --help shows no example:\n%s", args, text)
		}
	}
}
