package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// station is a provider and a user's device, run as programs, in one directory.
type station struct {
	t        *testing.T
	bin, dir string
}

// mimid runs a command to its end.
func (s *station) mimid(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *station) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // cleanups run commands, too
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir = s.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("mimid %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out), err
}

// until repeats a command until what it prints has all of want.
func (s *station) until(want []string, args ...string) string {
	s.t.Helper()
	var out string
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		missing := false
		if out, err = s.try(args...); err == nil {
			for _, w := range want {
				missing = missing || !strings.Contains(out, w)
			}
			if !missing {
				return out
			}
		}
	}
	s.t.Fatalf("mimid %s: %v\n%swithout %q", strings.Join(args, " "), err, out, want)
	return ""
}

// field reads one field of a command's JSON.
func (s *station) field(name string, args ...string) string {
	s.t.Helper()
	v := map[string]any{}
	if err := json.Unmarshal([]byte(s.mimid(append(args, "--json")...)), &v); err != nil {
		s.t.Fatal(err)
	}
	x, ok := v[name].(string)
	if !ok {
		s.t.Fatalf("mimid %s: no %s in %v", strings.Join(args, " "), name, v)
	}
	return x
}

// foreign is device.mjs.
type foreign struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
	n   int
}

func (f *foreign) do(op string, args map[string]any) map[string]any {
	f.t.Helper()
	f.n++
	q := map[string]any{"id": f.n, "op": op}
	for k, v := range args {
		q[k] = v
	}
	line, err := json.Marshal(q)
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := f.in.Write(append(line, '\n')); err != nil {
		f.t.Fatal(err)
	}
	if !f.out.Scan() {
		f.t.Fatalf("%s: device.mjs has ended: %v", op, f.out.Err())
	}
	got := map[string]any{}
	if err := json.Unmarshal(f.out.Bytes(), &got); err != nil {
		f.t.Fatal(err)
	}
	if got["id"] != float64(f.n) || got["ok"] != true {
		f.t.Fatalf("%s: %s", line, f.out.Bytes())
	}
	return got
}

// TestForeignDevices: a client of another language and with another MLS, which has
// nothing of mimid but its documentation, is a user's phone and tablet. The phone joins
// a room by Welcome, the tablet by external commit, both over the provider's client API;
// both read what a mimid client says, with a frank that verifies, and are read by it.
func TestForeignDevices(t *testing.T) {
	for _, program := range []string{"node", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is needed: %v", program, err)
		}
	}
	s := &station{t: t, dir: t.TempDir()}
	s.bin = filepath.Join(s.dir, "mimid")
	build := exec.Command("go", "build", "-o", s.bin, "./cmd/mimid")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building mimid: %v\n%s", err, out)
	}

	s.mimid("init", "--domain", "atlanta.example", "--dir", "a", "--clients", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0", "--metrics", "", "--dns", "off")
	serve := exec.Command(s.bin, "serve", "--dir", "a")
	serve.Dir = s.dir
	var log bytes.Buffer
	serve.Stdout, serve.Stderr = &log, &log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		serve.Process.Signal(os.Interrupt)
		if err := serve.Wait(); err != nil || t.Failed() {
			t.Errorf("serve: %v\n%s", err, log.Bytes())
		}
		if out, err := s.try("verify", "--dir", "a"); err != nil {
			t.Errorf("the provider's store: %v\n%s", err, out)
		}
	})
	s.until(nil, "status", "--dir", "a")
	url := s.field("clients", "status", "--dir", "a")

	cmd := exec.Command("node", "device.mjs")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	bob := &foreign{t: t, in: in, out: bufio.NewScanner(stdout)}

	s.mimid("client", "register", "--provider", url, "--invite", s.field("code", "account", "invite", "alice", "--dir", "a"), "--dir", "alice")
	bob.do("register", map[string]any{"provider": url, "invite": s.field("code", "account", "invite", "bob", "--dir", "a"), "device": "phone"})
	bob.do("publish", map[string]any{"device": "phone"})
	bob.do("accept", map[string]any{"device": "phone", "user": "mimi://atlanta.example/u/alice"})

	s.mimid("client", "room", "create", "club", "--dir", "alice")
	s.until(nil, "client", "room", "add", "club", "bob@atlanta.example", "--dir", "alice")
	room := bob.do("welcomed", map[string]any{"device": "phone"})["room"]

	read := func(device, want string) {
		t.Helper()
		got := bob.do("read", map[string]any{"device": device, "room": room})
		if got["text"] != want || got["sender"] != "mimi://atlanta.example/u/alice" || got["franked"] != true {
			t.Fatalf("%s reads %v, expected %q", device, got, want)
		}
	}
	s.mimid("client", "send", "club", "Welcome, phone.", "--dir", "alice")
	read("phone", "Welcome, phone.")
	bob.do("send", map[string]any{"device": "phone", "room": room, "text": "Said on a phone of another make."})
	s.until([]string{"Said on a phone of another make."}, "client", "read", "club", "--dir", "alice")

	bob.do("register", map[string]any{"provider": url, "invite": s.field("code", "account", "invite", "bob", "--dir", "a"), "device": "tablet"})
	bob.do("enter", map[string]any{"device": "tablet", "room": room})
	s.until([]string{"bob@atlanta.example (member, 2 clients)"}, "client", "room", "show", "club", "--dir", "alice")
	s.mimid("client", "send", "club", "Both of you?", "--dir", "alice")
	read("phone", "Both of you?")
	read("tablet", "Both of you?")
	bob.do("send", map[string]any{"device": "tablet", "room": room, "text": "And on a tablet."})
	s.until([]string{"And on a tablet."}, "client", "read", "club", "--dir", "alice")
	bob.do("send", map[string]any{"device": "phone", "room": room, "text": "And on the phone still."})
	s.until([]string{"And on the phone still."}, "client", "read", "club", "--dir", "alice")
}
