package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestReadLines: a line that is too long is refused as a whole, and the next one is
// read.
func TestReadLines(t *testing.T) {
	long := strings.Repeat("a", maxLine)
	type want struct {
		line string
		err  error
	}
	broken := errors.New("cable pulled")
	for name, test := range map[string]struct {
		in   io.Reader
		want []want
	}{
		"nothing":          {strings.NewReader(""), nil},
		"no newline":       {strings.NewReader("one\r\n\ntwo"), []want{{"one", nil}, {"", nil}, {"two", nil}}},
		"longest":          {strings.NewReader(long + "\nnext\n"), []want{{long, nil}, {"next", nil}}},
		"longest, CR":      {strings.NewReader(long + "\r\nnext\n"), []want{{long, nil}, {"next", nil}}},
		"one too long":     {strings.NewReader(long + "b\nnext\n"), []want{{"", errLine}, {"next", nil}}},
		"far too long":     {strings.NewReader(long + long + long + "/quit\nnext"), []want{{"", errLine}, {"next", nil}}},
		"too long, no end": {strings.NewReader(long + long), []want{{"", errLine}}},
		"broken":           {io.MultiReader(strings.NewReader("one\n"), iotest.ErrReader(broken)), []want{{"one", nil}, {"", broken}}},
	} {
		t.Run(name, func(t *testing.T) {
			lines := make(chan typed)
			go readLines(t.Context(), test.in, lines)
			var got []typed
			for l := range lines {
				got = append(got, l)
			}
			if len(got) != len(test.want) {
				t.Fatalf("%d lines, not %d", len(got), len(test.want))
			}
			for i, w := range test.want {
				if !errors.Is(got[i].err, w.err) || w.err == nil && got[i].line != w.line {
					t.Errorf("line %d: %.20q of %d bytes, %v", i, got[i].line, len(got[i].line), got[i].err)
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lines := make(chan typed)
	readLines(ctx, strings.NewReader("nobody reads this\n"), lines) // returns
}
