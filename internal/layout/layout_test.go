package layout_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestModule holds this module to every rule.
func TestModule(t *testing.T) {
	const root = "../.."
	mod, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(mod, []byte("module "+modulePath+"\n")) {
		t.Fatalf("go.mod does not name %s: the rules would see no import within the module", modulePath)
	}
	findings, pkgs, err := checkTree(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	self := false
	for _, p := range pkgs {
		self = self || p.dir == "internal/layout"
	}
	if !self {
		t.Fatal("the walk did not come across internal/layout, so it has not seen the module")
	}
	for _, f := range findings {
		t.Error(f)
	}
}

func TestImports(t *testing.T) {
	const m = modulePath + "/"
	for _, tc := range []struct {
		pkg, imp string
		want     string // part of the reason; empty: allowed
	}{
		// Directions within the module, allowed.
		{"cmd/mimid", m + "node", ""},
		{"cmd/mimid", m + "client", ""},
		{"cmd/mimid", m + "client/disk", ""},
		{"cmd/mimid", m + "simulations", ""},
		{"node", m + "overlay", ""},
		{"node", m + "store", ""},
		{"node", m + "protocol/mls", ""},
		{"node/console", m + "node", ""},
		{"client", m + "protocol/mls", ""},
		{"client/disk", m + "client", ""},
		{"client/disk", m + "store", ""},
		{"protocol/room", m + "protocol/mls", ""},
		{"protocol/mls", m + "protocol/mls/internal/wasmmember", ""},
		{"simulations", m + "node", ""},
		{"simulations/failover", m + "overlay/onion", ""},
		{"simulations", m + "client/disk", ""},

		// Directions within the module, forbidden.
		{"cmd/mimid", m + "overlay", "cmd imports only node, client"},
		{"cmd/mimid", m + "store", "flags and printing only"},
		{"cmd/mimid", m + "protocol/mls", "flags and printing only"},
		{"node", m + "client", "node imports only overlay, store, protocol"},
		{"node", m + "simulations", "node imports only overlay, store, protocol"},
		{"node", m + "cmd/mimid", "node imports only overlay, store, protocol"},
		{"overlay", m + "store", "node passes the store in"},
		{"overlay/onion", m + "store", "node passes the store in"},
		{"overlay", m + "protocol/mls", "its own peer and address types"},
		{"store", m + "overlay", "store imports no other folder"},
		{"store", m + "protocol/room", "store imports no other folder"},
		{"client", m + "client/disk", "declares the storage it needs"},
		{"client", m + "store", "client imports only protocol"},
		{"client", m + "node", "client imports only protocol"},
		{"client", m + "simulations", "client imports only protocol"},
		{"client/disk", m + "overlay", "only adapts store"},
		{"protocol/room", m + "store", "never the reverse"},
		{"protocol/room", m + "simulations", "never the reverse"},
		{"simulations", m + "internal/layout", "simulations may run anything"},
		{"node", m + "internal/layout", "node imports only"},
		{"internal/layout", m + "protocol/mls", "not code that the product is made of"},
		{"node", m + "misc", "in no folder of the layout"},
		{"node", modulePath, "in no folder of the layout"},
		{"node", m + "storefront", "in no folder of the layout"}, // a prefix of a name is not its folder

		// Libraries with one home.
		{"overlay", "github.com/libp2p/go-libp2p/core/host", ""},
		{"overlay/onion", "github.com/libp2p/go-libp2p", ""},
		{"simulations", "github.com/libp2p/go-libp2p", ""},
		{"node", "github.com/libp2p/go-libp2p/core/peer", "only overlay and simulations may"},
		{"cmd/mimid", "github.com/libp2p/go-libp2p", "only overlay and simulations may"},
		{"protocol/wire", "github.com/libp2p/go-libp2p/core/peer", "only overlay and simulations may"},
		{"store", "github.com/dgraph-io/badger/v4", ""},
		{"client/disk", "github.com/dgraph-io/badger/v4", "only store may"},
		{"simulations", "github.com/dgraph-io/badger/v4", "only store may"},
		{"node", "github.com/pelletier/go-toml/v2", ""},

		// What protocol rests on.
		{"protocol/mls", "golang.org/x/crypto/cryptobyte", ""},
		{"protocol/content", "github.com/fxamacker/cbor/v2", ""},
		{"protocol/discovery", "github.com/cloudflare/circl/oprf", ""},
		{"protocol/consent", "github.com/cloudflare/circl/blindsign/blindrsa", ""},
		{"protocol/discovery", "golang.org/x/net/idna", ""},
		{"protocol/mls", "github.com/cloudflare/circl/hpke", "only protocol/oprf and protocol/discovery and protocol/consent and protocol/privacypass may"},
		{"protocol/room", "golang.org/x/net/idna", "only protocol/discovery and protocol/consent may"},
		{"protocol/discovery", "golang.org/x/net/html", "has to trust what it imports"},
		{"protocol/mls", "github.com/cisco/go-mls", "has to trust what it imports"},
		{"protocol/mls", "golang.org/x/cryptography", "has to trust what it imports"},
		{"protocol/mls", "pgregory.net/rapid", "has to trust what it imports"},
		{"protocol/mls", "crypto/hpke", ""},
		{"protocol/mls", "crypto/rand", ""},
		{"protocol/mls", "time", ""},
		{"protocol/mls", "errors", ""},
		{"protocol/wire", "net/url", ""},
		{"protocol/wire", "net/netip", ""},
		{"protocol/wire", "net/mail", ""},
		{"protocol/wire", "os", "does no IO"},
		{"protocol/wire", "os/exec", "does no IO"},
		{"protocol/wire", "syscall", "by no other door"},
		{"protocol/mls/internal/wasmmember", "syscall/js", ""},
		{"protocol/wire", "net", "does no IO"},
		{"protocol/wire", "net/http", "does no IO"},
		{"protocol/wire", "net/http/httptest", "does no IO"},
		{"protocol/wire", "log", "does not log"},
		{"protocol/wire", "log/slog", "does not log"},
		{"protocol/wire", "math/rand", "weak generator"},
		{"protocol/wire", "math/rand/v2", "weak generator"},
		{"protocol/wire", "database/sql", "does no IO"},
		{"protocol/mls", "sync", ""},
		{"protocol/mls", "sync/atomic", ""},
		{"protocol/room", "sync", "no goroutine and no lock"},
		{"protocol/room", "sync/atomic", "no goroutine and no lock"},
		{"node", "net/http", ""}, // the shell is where IO lives
		{"node", "log/slog", ""},
	} {
		got := strings.Join(checkImports(tc.pkg, []string{tc.imp}), "\n")
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s imports %s:\n got %q\nwant %q", tc.pkg, tc.imp, got, tc.want)
		}
	}
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ pkg, name, want string }{
		{"protocol/mls", "mls", ""},
		{"cmd/mimid", "main", ""},
		{"node/utility", "utility", ""}, // a part of a word is not the word
		{"node/util", "util", "says nothing"},
		{"node/utils", "utils", "says nothing"},
		{"protocol/common", "common", "says nothing"},
		{"store/helpers", "helpers", "says nothing"},
		{"protocol/pkg/codec", "codec", "says nothing"}, // the folder counts
		{"store/durable", "util", "says nothing"},       // and so does the clause
		{"misc", "misc", "in no folder of the layout"},
		{"pkg", "pkg", "in no folder of the layout"},
		{".", "mimid", "in no folder of the layout"},
		{"nodes", "nodes", "in no folder of the layout"},
	} {
		got := strings.Join(checkName(tc.pkg, tc.name), "\n")
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("package %s in %s: got %q, want %q", tc.name, tc.pkg, got, tc.want)
		}
	}
}

func TestDocs(t *testing.T) {
	for _, tc := range []struct {
		doc string
		ok  bool
	}{
		{"", false},
		{"Package x does.\n", false},
		{"Package x does.\n\nIt does.\n", false}, // blank lines say nothing
		{"Package x does\nwhat it does\nas it does.\n", true},
		{"Package x does.\n\nIt does\nas it does.\n", true},
	} {
		if got := checkDoc("x", tc.doc); (len(got) == 0) != tc.ok {
			t.Errorf("doc %q: got %q, want ok %v", tc.doc, got, tc.ok)
		}
	}
}

func TestLength(t *testing.T) {
	if got := checkLength("x.go", maxLines); got != nil {
		t.Errorf("%d lines: got %q, want nothing", maxLines, got)
	}
	if got := checkLength("x.go", maxLines+1); len(got) != 1 {
		t.Errorf("%d lines: got %q, want one finding", maxLines+1, got)
	}
}

func TestCode(t *testing.T) {
	for _, tc := range []struct{ pkg, src, want string }{
		{"protocol/room", `import "time"; func f(now time.Time) time.Time { return now.Add(time.Hour) }`, ""},
		{"protocol/room", `import "time"; var t = time.Now()`, "time.Now reads the wall clock"},
		{"protocol/room", `import "time"; var now = time.Now`, "time.Now reads the wall clock"}, // not called, and yet
		{"protocol/room", `import "time"; func f(t time.Time) time.Duration { return time.Since(t) }`, "time.Since"},
		{"protocol/room", `import "time"; func f(t time.Time) time.Duration { return time.Until(t) }`, "time.Until"},
		{"protocol/room", `import "time"; func f() { <-time.After(1) }`, "time.After"},
		{"protocol/room", `import "time"; func f() { time.AfterFunc(1, f) }`, "time.AfterFunc"},
		{"protocol/room", `import "time"; func f() { time.Sleep(1) }`, "time.Sleep"},
		{"protocol/room", `import "time"; func f() { time.NewTimer(1) }`, "time.NewTimer"},
		{"protocol/room", `import "time"; func f() { time.NewTicker(1) }`, "time.NewTicker"},
		{"protocol/room", `import "time"; func f() { time.Tick(1) }`, "time.Tick"},
		{"protocol/room", `import clock "time"; var t = clock.Now()`, "time.Now"},
		{"protocol/room", `import . "time"; var t = Now()`, "dot import of time"},
		{"protocol/room", `import "example.org/time2"; var t = time2.Now()`, ""},
		{"protocol/mls", `import "time"; var t = time.Now()`, "time.Now"}, // no exception here
		{"node", `import "time"; var t = time.Now()`, ""},
		{"protocol/room", `func f() { go f() }`, "starts no goroutine"},
		{"protocol/mls", `func f() { go f() }`, ""},
		{"node", `func f() { go f() }`, ""},
		{"protocol/mls", `func init() {}`, "func init"},
		{"node", `func init() {}`, "func init"},
		{"node", `type T int; func (T) init() {}`, ""}, // a method is only a name
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "x.go", "package x; "+tc.src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%s: %v", tc.src, err)
		}
		got := strings.Join(checkCode(tc.pkg, f, func(ast.Node) string { return "x.go" }), "\n")
		if (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s in %s: got %q, want %q", tc.src, tc.pkg, got, tc.want)
		}
	}
}

// TestTree shows what the walk sees and what it leaves out.
func TestTree(t *testing.T) {
	const doc = "// Package x\n// does what it\n// does.\n"
	file := func(src string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(src)} }
	findings, pkgs, err := checkTree(fstest.MapFS{
		"go.mod": file("module " + modulePath + "\n"),
		// A build tag and a name for another system hide nothing.
		"protocol/a/a.go":       file(doc + "package a\n"),
		"protocol/a/tagged.go":  file("//go:build never\n\npackage a\n\nimport _ \"os\"\n"),
		"protocol/a/a_plan9.go": file("package a\n\nimport _ \"net\"\n"),
		// Tests are exempt, in both kinds of package.
		"protocol/a/a_test.go": file("package a\n\nimport _ \"log\"\n\nfunc init() {}\n"),
		"protocol/a/x_test.go": file("package a_test\n\nimport _ \"net/http\"\n"),
		// One doc serves all files of a package, but not its neighbour's.
		"store/s.go":   file(doc + "package store\n"),
		"store/gen.go": file("//go:build ignore\n\npackage main\n"),
		"node/n.go":    file(doc + "package node\n" + strings.Repeat("\n", maxLines)),
		// Not part of the module.
		"protocol/a/interop/go.mod":    file("module interop\n"),
		"protocol/a/interop/i.go":      file("package interop\n\nimport _ \"os\"\n"),
		"protocol/a/interop/x/x.go":    file("package x\n"),
		"protocol/a/testdata/t.go":     file("this is not Go"),
		"node_modules/m/m.go":          file("package m\n"),
		".hidden/h.go":                 file("package h\n"),
		"_old/o.go":                    file("package o\n"),
		"vendor/example.org/v.go":      file("package v\n"),
		"protocol/onlytests/o_test.go": file("package onlytests\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, p := range pkgs {
		seen = append(seen, p.dir+" "+p.name)
	}
	if diff := cmp.Diff([]string{"node node", "protocol/a a", "store main", "store store"}, seen); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	for i, f := range findings {
		findings[i], _, _ = strings.Cut(f, ", ") // the reasons are tested above
		findings[i], _, _ = strings.Cut(findings[i], ": protocol")
	}
	want := []string{
		"node/n.go: 804 lines", // doc, clause and padding
		"protocol/a imports net",
		"protocol/a imports os",
		"store: the package doc comment has 0 lines",
	}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}

	if _, _, err := checkTree(fstest.MapFS{"node/n.go": file("not Go")}); err == nil {
		t.Error("a file that does not parse was accepted")
	}
}
