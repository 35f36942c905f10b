package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// report tells the story and counts the checks.
type report struct {
	out    *output
	checks []check
	title  string
}

// check is a claim that was tested.
type check struct {
	Chapter string `json:"chapter"`
	What    string `json:"what"`
	OK      bool   `json:"ok"`
	Detail  string `json:"detail"`
}

func newReport(out *output) *report { return &report{out: out} }

func (r *report) chapter(title string) {
	r.title = title
	if !r.out.json {
		fmt.Fprintf(r.out.w, "\n%s\n", title)
	}
}

func (r *report) say(format string, args ...any) {
	if !r.out.json {
		fmt.Fprintf(r.out.w, "  "+format+"\n", args...)
	}
}

func (r *report) check(what string, ok bool, format string, args ...any) {
	c := check{r.title, what, ok, fmt.Sprintf(format, args...)}
	r.checks = append(r.checks, c)
	if !r.out.json {
		mark := "ok  "
		if !ok {
			mark = "FAIL"
		}
		fmt.Fprintf(r.out.w, "  %s %s: %s\n", mark, what, c.Detail)
	}
}

// finish prints the summary; the exit code is 1 if a check failed or none was made.
func (r *report) finish(took time.Duration) error {
	failed := 0
	for _, c := range r.checks {
		if !c.OK {
			failed++
		}
	}
	err := r.out.result(map[string]any{"checks": r.checks, "failed": failed, "took_ms": took.Milliseconds()}, func(w io.Writer) {
		fmt.Fprintln(w)
		table(w, "CHAPTER\tCHECKS\tHELD", func(w io.Writer) {
			for i := 0; i < len(r.checks); {
				j, held := i, 0
				for j < len(r.checks) && r.checks[j].Chapter == r.checks[i].Chapter {
					if r.checks[j].OK {
						held++
					}
					j++
				}
				fmt.Fprintf(w, "%s\t%d\t%d\n", r.checks[i].Chapter, j-i, held)
				i = j
			}
		})
		if failed == 0 {
			fmt.Fprintf(w, "\nAll %d checks held, in %s.\n", len(r.checks), took.Round(100*time.Millisecond))
		} else {
			fmt.Fprintf(w, "\n%d of %d checks failed.\n", failed, len(r.checks))
		}
	})
	if err == nil && (failed > 0 || len(r.checks) == 0) {
		return exitCode(1)
	}
	return err
}

// ms shows a short time.
func ms(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// last is the end of an error's text, which says what was wrong in the first place.
func last(s string) string {
	if i := strings.LastIndex(s, "FramedContent"); i >= 0 {
		return strings.Trim(s[i:], "\"")
	}
	return s
}
