package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// output shows results: to a person, or as JSON.
type output struct {
	w    io.Writer
	json bool
}

// result prints v as one line of JSON, or lets text say it.
func (o *output) result(v any, text func(w io.Writer)) error {
	if !o.json {
		text(o.w)
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err = fmt.Fprintf(o.w, "%s\n", b)
	return err
}

// table prints columns; rows come from the function, fields separated by tabs.
func table(w io.Writer, header string, rows func(w io.Writer)) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, header)
	rows(t)
	t.Flush()
}

// when shows a time as people read it.
func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// short cuts a hash to what tells it from others.
func short(s string) string {
	if len(s) > 12 {
		return s[:12]
	}
	return s
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// steers says whether a character changes the direction of what stands around it or breaks
// lines: with those a text could seem to say something else, or pass for a line of ours.
func steers(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c || r == 0x2028 || r == 0x2029
}

// printable makes other people's text harmless on a terminal: control characters are
// shown as such, and a line of it cannot pass for one of ours.
func printable(s, indent string) string {
	s = strings.ReplaceAll(s, "\n", "\n"+indent)
	return strings.Map(func(r rune) rune {
		if (unicode.IsControl(r) || steers(r)) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
