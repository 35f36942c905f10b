package layout_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// TestConformanceNamesTests: docs/mimi-conformance.md says what is done by naming the tests
// that show it, as `package.TestName`. Each of them exists, and each row that says done
// names one.
func TestConformanceNamesTests(t *testing.T) {
	rows := 0
	namedTests(t, "mimi-conformance.md", func(n int, line string, tests int) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "---") {
			return
		}
		rows++
		if strings.HasPrefix(strings.TrimSpace(cells[2]), "done") && tests == 0 {
			t.Errorf("line %d says done and names no test: %s", n, cells[1])
		}
	})
	if rows < 50 {
		t.Errorf("%d rows: is this the table?", rows)
	}
}

// TestThreatsNameTests: each row of docs/threats.md names tests that exist, or says that it is
// an argument.
func TestThreatsNameTests(t *testing.T) {
	rows := 0
	namedTests(t, "threats.md", func(n int, line string, tests int) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.Contains(line, "---") || strings.Contains(line, "Shown by") {
			return
		}
		rows++
		if shown := cells[4]; strings.Contains(shown, "test:") != (tests > 0) || tests == 0 && !strings.Contains(shown, "argument") {
			t.Errorf("line %d shows nothing: %s", n, cells[1])
		}
	})
	if rows < 15 {
		t.Errorf("%d rows: is this the table?", rows)
	}
}

// namedTests checks that the tests that a document names exist, and tells of each line how
// many it names.
func namedTests(t *testing.T, name string, each func(n int, line string, tests int)) {
	t.Helper()
	doc, err := os.ReadFile(root + "/docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	sources := map[string]string{} // of a package's tests
	for n, line := range strings.Split(string(doc), "\n") {
		found := named.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			src, read := sources[m[1]]
			if !read {
				files, err := filepath.Glob(filepath.Join(root, m[1], "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					b, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					src += string(b)
				}
				sources[m[1]] = src
			}
			if !strings.Contains(src, "\nfunc "+m[2]+"(") {
				t.Errorf("line %d: %s has no %s", n+1, m[1], m[2])
			}
		}
		each(n+1, line, len(found))
	}
}
