package content_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mimid/mimid/protocol/content"
)

// FuzzDecode: no panic, one encoding, memory in proportion to the input, and
// whatever a client asks of a decoded message has an answer. Status reports
// likewise.
func FuzzDecode(f *testing.F) {
	for _, in := range [][]byte{
		body(f, text), body(f, nest(4)), body(f, nest(5)), body(f, "83 02 60 00"),
		body(f, "8f 06 60 02 60 60 00 00 01 4100 4100 40 01 40 6161 6162"),
		ext(f, "a2 01 6161 02 6162"), ext(f, "a3 03 f93e00 20 81a1414100 6161 c249010000000000000000"),
		message(f, salt, id, "4141", "82 f5 00", id, "a0", "85 01 60 01 72746578742f706c61696e3b613d62202020 41 78"),
		unhex(f, "81 82"+id+"02"),
	} {
		f.Add(in)
	}
	m := content.New(origin, content.Multi(content.ChooseOne,
		content.MarkdownText("<mimi://a.example/u/alice> [x](mimi://a.example/u/bob)"), content.Text("x")))
	b, err := m.Encode(content.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)

	f.Fuzz(func(t *testing.T, in []byte) {
		var m *content.Message
		var s content.StatusReport
		var err, statusErr error
		n := allocated(func() {
			m, err = content.Decode(in, content.Limits{})
			s, statusErr = content.DecodeStatusReport(in, content.Limits{})
		})
		if most := uint64(256*len(in) + 1<<20); n > most {
			t.Fatalf("%d bytes allocated for %d", n, len(in))
		}
		if statusErr == nil {
			if again, err := s.Encode(content.Limits{}); err != nil || !bytes.Equal(again, in) {
				t.Fatalf("%x encoded again: %x, %v", in, again, err)
			}
		}
		if err != nil {
			return
		}
		if statusErr == nil {
			t.Fatalf("%x is both a message and a report", in)
		}
		again, err := m.Encode(content.Limits{})
		if err != nil || !bytes.Equal(again, in) {
			t.Fatalf("%x encoded again: %x, %v", in, again, err)
		}
		back, err := content.Decode(again, content.Limits{})
		if diff := cmp.Diff(m, back); err != nil || diff != "" {
			t.Fatalf("%x: %v\n%s", in, err, diff)
		}
		id, err := content.DeriveID(in, "mimi://a.example/u/alice", "mimi://a.example/r/club")
		if err != nil {
			t.Fatal(err)
		}
		for _, shown := range append(m.Reactions(), m.Text()) {
			if !utf8.ValidString(shown) {
				t.Fatalf("%q", shown)
			}
		}
		m.Mentions()
		i := 0
		for index, p := range m.Parts() {
			if x, ok := p.Content.(content.ExternalPart); ok && x.SafeFilename() == "" {
				t.Fatal("no file name")
			}
			if index != i {
				t.Fatalf("part %d has index %d", i, index)
			}
			i++
		}
		gone := content.Delete(content.Origin{Sender: m.Sender, Room: m.Room}, m, id)
		if _, err := gone.Encode(content.Limits{}); err != nil {
			t.Fatalf("cannot delete %x: %v", in, err)
		}
	})
}
