package hub_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the machines do into testdata")

// TestTraces runs testdata/*.txt: commands, a line of dashes, and what the
// machines do. go test -rewrite writes the second half anew, for review as a
// diff.
//
//	room ABC set AB..      participants and replicas; the first replica is hub
//	room ABC set ABC of AB the same, where C is recruited and does not take part
//	submit A 1             A gets message 1; handshake A 1 [set] a commit
//	lie A 2                A orders message 2 too, at the same place, for the others only
//	forge AB C 2           to C alone the hub shows message 2 as final, certified by A and B
//	claim C A refuse 5.1   C says to A that it has seen term 5.1, in a refuse, would, grant or stand
//	contradict C D         C is shown that what D knows to be final is, too
//	suspect, doubt, stand, resend, crash, restart, restore X
//	backup X               restore is from what X has now on disk, not from the beginning
//	handover A B           A is asked to hand over to B
//	move B BC [without A]  B gets an admin's commit that names it hub, and a set; A's lies can be shown in it
//	deliver, drop [B | A>B]
//	state
//
// "crash 2" after a command lets the machine crash after two effects.
func TestTraces(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d traces: %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(b))
			if *rewrite {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got == string(b) {
				return
			}
			want := strings.Split(string(b), "\n")
			for i, line := range strings.Split(got, "\n") {
				if i >= len(want) || want[i] != line {
					t.Fatalf("%s:%d: the machines say\n\t%s", name, i+1, line)
				}
			}
			t.Fatalf("%s goes on after what the machines say", name)
		})
	}
}

// replay runs a trace's commands and returns the trace as it is now.
func replay(t *testing.T, text string) string {
	var out strings.Builder
	var w *world
	for i, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		if i > 0 {
			out.WriteString("\n")
		}
		commands, _, expects := strings.Cut(block+"\n", "\n----\n")
		commands = strings.TrimRight(commands, "\n")
		if strings.HasPrefix(commands, "#") && !expects && !strings.Contains(commands, "\n") || onlyComments(commands) {
			out.WriteString(commands + "\n")
			continue
		}
		out.WriteString(commands + "\n----\n")
		for line := range strings.SplitSeq(commands, "\n") {
			switch f := strings.Fields(line); {
			case len(f) == 0 || f[0][0] == '#':
			case f[0] == "room":
				w = begin(parseSet(f[1]), parseSet(f[3]))
				if len(f) == 6 {
					for _, c := range w.cfg {
						c.Parties = parseSet(f[5])
					}
				}
			case w == nil:
				t.Fatalf("%q comes before the room", line)
			default:
				out.WriteString(w.do(line))
			}
		}
	}
	return out.String()
}

func onlyComments(s string) bool {
	for line := range strings.SplitSeq(s, "\n") {
		if !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}
