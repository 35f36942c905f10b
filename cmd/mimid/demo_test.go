package main

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestDemoImports: the demo does what anybody could do. Of this module it uses the
// client library, its storage, and the operator's socket, and nothing of a node;
// the providers are other processes.
func TestDemoImports(t *testing.T) {
	files, err := filepath.Glob("demo*.go")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	const module = "github.com/mimid/mimid/"
	allowed := []string{module + "client", module + "client/disk", module + "node/admin"}
	seen := map[string]bool{}
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(path, module) {
				seen[path] = true
				if !slices.Contains(allowed, path) {
					t.Errorf("%s imports %s: the demo may use what users and operators have, and no more", f, path)
				}
			}
		}
	}
	if !seen[module+"client"] {
		t.Error("the demo does not use the client library")
	}
}

// TestLast: the report names what was wrong in the first place.
func TestLast(t *testing.T) {
	for in, want := range map[string]string{
		`leaving: notAllowed: "checking: FramedContentTBS: mls: signature does not verify": client: refused`: `FramedContentTBS: mls: signature does not verify": client: refused`,
		"nothing": "nothing",
	} {
		if got := last(in); got != want {
			t.Errorf("%q", got)
		}
	}
}

// TestPrintable: what others write cannot move the cursor or pass for another line.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"hello":                              "hello",
		"\x1b[2Jgone\a":                      "\ufffd[2Jgone\ufffd",
		"one\n12:00:00 bob@b: forged":        "one\n   12:00:00 bob@b: forged",
		"\u202egnp.exe \u2066x\u2069 \u200f": "\ufffdgnp.exe \ufffdx\ufffd \ufffd",
		"a\u2028b\u009b31m":                  "a\ufffdb\ufffd31m",
		"tab\tand\rreturn":                   "tab\ufffdand\ufffdreturn",
	} {
		if got := printable(in, "   "); got != want {
			t.Errorf("%q becomes %q", in, got)
		}
	}
}

// TestReport: the exit status is 0 only if every check held, and at least one was made.
func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		checks []bool
		code   int
		says   string
	}{
		"all held":   {[]bool{true, true}, 0, "All 2 checks held"},
		"one failed": {[]bool{true, false, true}, 1, "1 of 3 checks failed"},
		"all failed": {[]bool{false}, 1, "1 of 1 checks failed"},
		"none made":  {nil, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, asJSON := range []bool{false, true} {
				var out strings.Builder
				r := newReport(&output{w: &out, json: asJSON})
				r.chapter("one")
				for i, ok := range c.checks {
					r.check("check", ok, "number %d", i)
				}
				err := r.finish(time.Second)
				var code exitCode
				if got := errors.As(err, &code); got != (c.code != 0) || int(code) != c.code {
					t.Errorf("json %v: %v", asJSON, err)
				}
				if asJSON == json.Valid([]byte(out.String())) && (asJSON || strings.Contains(out.String(), c.says)) {
					continue
				}
				t.Errorf("json %v: %s", asJSON, out.String())
			}
		})
	}
}

// TestDemoRefused: what the demo cannot begin with is no success.
func TestDemoRefused(t *testing.T) {
	var out, errw strings.Builder
	if code := run([]string{"demo", "--dir", t.TempDir()}, strings.NewReader(""), &out, &errw); code != 1 || !strings.Contains(errw.String(), "does not exist yet") {
		t.Errorf("exit %d: %s%s", code, out.String(), errw.String())
	}
}

// TestDemoTime: a story that takes too long is no success, and says so.
func TestDemoTime(t *testing.T) {
	defer goleak.VerifyNone(t)
	var out, errw strings.Builder
	s := &session{ctx: t.Context(), out: &output{w: &out}, errw: &errw}
	err := (&demoCommand{within: time.Nanosecond}).Run(s)
	var code exitCode
	if !errors.As(err, &code) || code != 1 || !strings.Contains(out.String(), "not within 1ns") {
		t.Errorf("%v: %s%s", err, out.String(), errw.String())
	}
}
