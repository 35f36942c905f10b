package layout_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformanceNamesTests: docs/mimi-conformance.md says what is done by naming the tests
// that show it, as `package.TestName`. Each of them exists, and each row that says done
// names one.
func TestConformanceNamesTests(t *testing.T) {
	const root = "../.."
	doc, err := os.ReadFile(root + "/docs/mimi-conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	sources := map[string]string{} // of a package's tests
	rows := 0
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
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Contains(line, "---") {
			continue
		}
		rows++
		if strings.HasPrefix(strings.TrimSpace(cells[2]), "done") && len(found) == 0 {
			t.Errorf("line %d says done and names no test: %s", n+1, cells[1])
		}
	}
	if rows < 50 {
		t.Errorf("%d rows: is this the table?", rows)
	}
}
