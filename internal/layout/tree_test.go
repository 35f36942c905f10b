package layout_test

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A goPackage is what the rules need to know about one package. One folder can
// hold two: a library and a generator that a build tag keeps out.
type goPackage struct {
	dir     string
	name    string
	doc     string // the longest package doc comment of its files
	imports []string
	files   []goFile
}

type goFile struct {
	path  string
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// checkTree runs every rule over a module's file tree and returns one sentence
// per violation, ordered by folder, and the packages it has judged.
func checkTree(fsys fs.FS) (findings []string, pkgs []goPackage, err error) {
	pkgs, err = readTree(fsys)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pkgs {
		findings = append(findings, checkName(p.dir, p.name)...)
		findings = append(findings, checkDoc(p.dir, p.doc)...)
		findings = append(findings, checkImports(p.dir, p.imports)...)
		for _, f := range p.files {
			findings = append(findings, checkLength(f.path, f.lines)...)
			findings = append(findings, checkCode(p.dir, f.ast, func(n ast.Node) string {
				return fmt.Sprintf("%s:%d", f.path, f.fset.Position(n.Pos()).Line)
			})...)
		}
	}
	return findings, pkgs, nil
}

// readTree parses all non-test Go files of the module at the root of fsys,
// whatever their build tags, and groups them by folder and package name.
func readTree(fsys fs.FS) ([]goPackage, error) {
	byKey := map[[2]string]*goPackage{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && skipDir(fsys, p) {
				return fs.SkipDir
			}
			return nil
		}
		if !isSource(d.Name()) {
			return nil
		}
		f, err := readFile(fsys, p)
		if err != nil {
			return err
		}
		key := [2]string{path.Dir(p), f.ast.Name.Name}
		pkg := byKey[key]
		if pkg == nil {
			pkg = &goPackage{dir: key[0], name: key[1]}
			byKey[key] = pkg
		}
		pkg.files = append(pkg.files, f)
		if doc := f.ast.Doc.Text(); len(doc) > len(pkg.doc) {
			pkg.doc = doc
		}
		for _, spec := range f.ast.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("reading imports of %s: %w", p, err)
			}
			pkg.imports = append(pkg.imports, imp)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var pkgs []goPackage
	for _, pkg := range byKey {
		slices.Sort(pkg.imports)
		pkg.imports = slices.Compact(pkg.imports)
		pkgs = append(pkgs, *pkg)
	}
	slices.SortFunc(pkgs, func(a, b goPackage) int {
		return cmp.Or(cmp.Compare(a.dir, b.dir), cmp.Compare(a.name, b.name))
	})
	return pkgs, nil
}

func readFile(fsys fs.FS, p string) (goFile, error) {
	src, err := fs.ReadFile(fsys, p)
	if err != nil {
		return goFile{}, err
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return goFile{}, fmt.Errorf("parsing Go: %w", err)
	}
	return goFile{path: p, lines: bytes.Count(src, []byte("\n")), ast: f, fset: fset}, nil
}

// isSource leaves out tests and the files that the go command ignores.
func isSource(name string) bool {
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") &&
		!strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_")
}

func skipDir(fsys fs.FS, p string) bool {
	name := path.Base(p)
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
		name == "testdata" || name == "vendor" || name == "node_modules" {
		return true
	}
	_, err := fs.Stat(fsys, path.Join(p, "go.mod"))
	return err == nil // a module of its own
}
