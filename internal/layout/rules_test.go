package layout_test

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// modulePath is the module whose packages the rules speak about. Packages are
// named by their folder relative to it: "protocol/mls", not the import path.
const modulePath = "github.com/mimid/mimid"

// A layer is a folder of the module and what it may import from the others. A
// package belongs to the layer with the longest matching folder and may always
// import from its own layer.
type layer struct {
	dir string
	may []string
	why string
}

var layers = []layer{
	{"cmd", []string{"node", "client", "client/disk", "simulations"},
		"a command holds flags and printing only; what it runs lives in node, client and simulations"},
	{"node", []string{"overlay", "store", "protocol"},
		"node wires overlay, store and protocol together and knows nothing of the programs and devices that use it"},
	{"overlay", nil,
		"overlay exports its own peer and address types and declares the key-value interface it needs; node passes the store in"},
	{"store", nil,
		"store keeps bytes under a documented key space; node brings them to and from overlay and protocol"},
	{"client", []string{"protocol"},
		"client must run on any device, in a browser too, so it declares the storage it needs and imports protocol only"},
	{"client/disk", []string{"client", "store"},
		"client/disk only adapts store to the storage that client declares"},
	{"protocol", nil,
		"protocol says what is true, as values in and values out; everything else depends on it, never the reverse"},
	{"simulations", []string{"cmd", "node", "overlay", "store", "client", "client/disk", "protocol"},
		"simulations may run anything"},
	{"internal", nil,
		"internal holds checks of the repository, not code that the product is made of"},
}

// A reserved module may be imported by the named layers only.
type reserved struct {
	prefix string
	layers []string
	why    string
}

var reservedModules = []reserved{
	{"github.com/libp2p", []string{"overlay", "simulations"},
		"the network library stays behind overlay's own types, so that replacing or faking it touches one folder"},
	{"github.com/dgraph-io/badger", []string{"store"},
		"the key space is written down in one place; nobody reads or writes keys around it"},
	{"github.com/marcopolo/simnet", []string{"simulations"},
		"a network that does not exist is nothing for a node"},
}

// Third-party code that protocol packages may import. An entry with folders
// holds for those folders only.
var protocolMay = []struct {
	prefix string
	in     []string
}{
	{"golang.org/x/crypto", nil},
	{"github.com/fxamacker/cbor", nil},
	{"github.com/cloudflare/circl", []string{"protocol/oprf", "protocol/discovery", "protocol/consent", "protocol/privacypass"}},
	{"golang.org/x/net/idna", []string{"protocol/discovery", "protocol/consent"}},
}

// Standard packages that protocol packages must not import, subpackages
// included. The longest match decides; an empty reason allows.
var protocolStd = []struct{ prefix, why string }{
	{"os", "protocol does no IO: files, environment and signals belong to the shell around it"},
	{"syscall", "protocol does no IO, by no other door either"},
	{"syscall/js", ""},
	{"net", "protocol does no IO: messages come in and go out as values"},
	{"net/url", ""},
	{"net/netip", ""},
	{"net/mail", ""},
	{"log", "protocol does not log: it returns errors and effects, and the shell reports them"},
	{"database/sql", "protocol does no IO: it asks for old data through an interface it declares"},
	{"math/rand", "protocol takes randomness as an argument or from crypto/rand; a weak generator in reach ends up in a key"},
	{"sync", "protocol has no goroutine and no lock: its values are owned by the caller's goroutine (only protocol/mls may use all cores within a call)"},
}

// concurrent is the one protocol folder that may start goroutines, which must
// end within the call: it verifies the leaf signatures of a tree on all cores.
const concurrent = "protocol/mls"

// clock holds the functions of package time that read or wait for the wall
// clock. The type time.Time and its arithmetic are fine: time is an argument.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"}

// emptyNames say nothing about what is inside, and collect whatever would
// otherwise close an import cycle.
var emptyNames = []string{"util", "utils", "common", "helpers", "pkg"}

const (
	maxLines    = 800 // of a non-test Go file
	minDocLines = 3   // of a package doc comment
)

// checkImports judges the imports of one package, given as its folder and the
// full import paths. It returns one sentence per violation, in import order.
func checkImports(pkg string, imports []string) []string {
	var out []string
	for _, imp := range imports {
		if why := checkImport(pkg, imp); why != "" {
			out = append(out, fmt.Sprintf("%s imports %s: %s", pkg, imp, why))
		}
	}
	return out
}

func checkImport(pkg, imp string) string {
	own, known := layerOf(pkg)
	if !known {
		return "" // checkName reports it once
	}
	if dir, ok := inModule(imp); ok {
		return checkEdge(own, dir)
	}
	for _, r := range reservedModules {
		if within(imp, r.prefix) && !slices.Contains(r.layers, own.dir) {
			return fmt.Sprintf("only %s may: %s", strings.Join(r.layers, " and "), r.why)
		}
	}
	if own.dir == "protocol" {
		return checkProtocolImport(pkg, imp)
	}
	return ""
}

func checkEdge(own layer, dir string) string {
	target, known := layerOf(dir)
	switch {
	case !known:
		return "it is in no folder of the layout"
	case target.dir == own.dir || slices.Contains(own.may, target.dir):
		return ""
	case len(own.may) == 0:
		return fmt.Sprintf("%s imports no other folder of the module: %s", own.dir, own.why)
	default:
		return fmt.Sprintf("%s imports only %s: %s", own.dir, strings.Join(own.may, ", "), own.why)
	}
}

func checkProtocolImport(pkg, imp string) string {
	if isStandard(imp) {
		match, why := "", ""
		for _, s := range protocolStd {
			if within(imp, s.prefix) && len(s.prefix) > len(match) {
				match, why = s.prefix, s.why
			}
		}
		if within(match, "sync") && within(pkg, concurrent) {
			return ""
		}
		return why
	}
	for _, m := range protocolMay {
		if !within(imp, m.prefix) {
			continue
		}
		if m.in == nil || slices.ContainsFunc(m.in, func(dir string) bool { return within(pkg, dir) }) {
			return ""
		}
		return fmt.Sprintf("only %s may: everybody who reads a protocol package has to trust what it imports", strings.Join(m.in, " and "))
	}
	return "protocol imports the standard library, golang.org/x/crypto and a CBOR codec: everybody who reads it has to trust what it imports"
}

// checkName judges where a package lives and what it is called; the name in
// its package clause may differ from the folder's.
func checkName(pkg, name string) []string {
	var out []string
	if _, known := layerOf(pkg); !known {
		out = append(out, fmt.Sprintf("%s: in no folder of the layout; a new top-level folder needs a layer, with its reason, in rules_test.go", pkg))
	}
	for _, part := range append(strings.Split(pkg, "/"), name) {
		if slices.Contains(emptyNames, part) {
			out = append(out, fmt.Sprintf("%s: %q says nothing about what is inside; name the package after its idea, or keep the code private where it is used", pkg, part))
			break
		}
	}
	return out
}

// checkDoc judges a package doc comment, given as the comment's text.
func checkDoc(pkg, doc string) []string {
	lines := 0
	for line := range strings.Lines(doc) {
		if strings.TrimSpace(line) != "" {
			lines++
		}
	}
	if lines >= minDocLines {
		return nil
	}
	return []string{fmt.Sprintf("%s: the package doc comment has %d lines, at least %d are asked for: a package earns its place with a doc worth reading", pkg, lines, minDocLines)}
}

// checkLength judges the length of one non-test file.
func checkLength(file string, lines int) []string {
	if lines <= maxLines {
		return nil
	}
	return []string{fmt.Sprintf("%s: %d lines, at most %d: split it by concept, so that it can be read in one sitting", file, lines, maxLines)}
}

// checkCode judges the declarations and statements of one non-test file. The
// position that starts each sentence is made by at.
func checkCode(pkg string, f *ast.File, at func(ast.Node) string) []string {
	var out []string
	report := func(n ast.Node, why string) { out = append(out, at(n)+": "+why) }

	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			report(fn, "func init shares state between all nodes of a process and hides when it runs; make it reachable from a value")
		}
	}
	if !within(pkg, "protocol") {
		return out
	}

	timeName := ""
	for _, spec := range f.Imports {
		if imp, _ := strconv.Unquote(spec.Path.Value); imp != "time" {
			continue
		}
		timeName = "time"
		if spec.Name != nil {
			timeName = spec.Name.Name
		}
		if timeName == "." {
			report(spec, "a dot import of time hides who reads the clock; import it by name")
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && x.Name == timeName && slices.Contains(clock, n.Sel.Name) {
				report(n, fmt.Sprintf("time.%s reads the wall clock; protocol takes the time as an argument and returns the next deadline", n.Sel.Name))
			}
		case *ast.GoStmt:
			if !within(pkg, concurrent) {
				report(n, "protocol starts no goroutine: the caller's goroutine owns its values")
			}
		}
		return true
	})
	return out
}

// layerOf returns the layer of a folder of the module.
func layerOf(dir string) (layer, bool) {
	var best layer
	for _, l := range layers {
		if within(dir, l.dir) && len(l.dir) > len(best.dir) {
			best = l
		}
	}
	return best, best.dir != ""
}

// inModule returns the folder of an import path of this module.
func inModule(imp string) (dir string, ok bool) {
	if imp == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imp, modulePath+"/")
}

// isStandard reports whether an import path belongs to the standard library:
// its first element has no dot.
func isStandard(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

// within reports whether p is the folder or lies below it.
func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+"/")
}
