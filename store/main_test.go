package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/store"
	"go.uber.org/goleak"
)

// childEnv makes the test binary a child process that does one job, see children.
const childEnv = "MIMID_STORE_TEST_CHILD"

// children are programs that are killed, or that open damaged stores, which must not
// take the test with them.
var children = map[string]func(args []string) error{
	"append": childAppend,
	"check":  childCheck,
	"open":   childOpen,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		if err := children[name](os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if err := flag.Set("rapid.seed", "1"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GOTRACEBACK=single")
	return cmd
}

// running is a store with its writer.
type running struct {
	*store.Store
	cancel context.CancelFunc
	ended  chan error // the result of Run, then closed
}

func run(o store.Options) (*running, error) {
	s, err := store.Open(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{s, cancel, make(chan error, 1)}
	go func() { defer close(r.ended); r.ended <- s.Run(ctx) }()
	return r, nil
}

// shut stops the writer and closes, in the order of a daemon.
func (r *running) shut() error {
	r.cancel()
	err := <-r.ended
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(err, r.Close(ctx))
}

func start(t testing.TB, o store.Options) *running {
	t.Helper()
	r, err := run(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.shut(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return r
}

func memory() store.Options          { return store.Options{InMemory: true, Small: true} }
func small(dir string) store.Options { return store.Options{Dir: dir, Small: true} }

func room(n int) store.RoomID {
	return store.RoomID(bytes.Repeat([]byte{byte(n)}, 32))
}

func set(t testing.TB, s *running, k store.Key, v string) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Set(k, []byte(v)) }); err != nil {
		t.Fatal(err)
	}
}

// get returns a value, or "-" for none.
func get(t testing.TB, s *running, k store.Key) string {
	t.Helper()
	var out string
	err := s.View(func(tx *store.Tx) error {
		v, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			out = "-"
			return nil
		}
		out = string(v)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// captured is a log that a test reads afterwards.
type captured struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *captured) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *captured) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

func (c *captured) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// The history that children write and parents check: each room's head, log entries 1
// to head, and for each its transaction id, all written by one function per entry.

const historyRooms = 6

func historyEntry(n int, seq uint64) []byte {
	rnd := rand.New(rand.NewPCG(uint64(n), seq))
	v := make([]byte, 200+rnd.IntN(8000))
	for i := range v {
		v[i] = byte(rnd.Uint32())
	}
	return v
}

func historyTxn(n int, seq uint64) (id store.TxnID) {
	binary.BigEndian.PutUint64(id[:], seq^uint64(n)<<32)
	return id
}

// appendHistory adds the next entry to room n and returns its seq.
func appendHistory(ctx context.Context, s *store.Store, n int) (seq uint64, err error) {
	err = s.Update(ctx, func(tx *store.Tx) error {
		seq = 1
		if v, err := tx.Get(store.RoomHeadKey(room(n))); err == nil {
			seq = binary.BigEndian.Uint64(v) + 1
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return errors.Join(
			tx.Set(store.RoomEntryKey(room(n), seq), historyEntry(n, seq)),
			tx.Set(store.RoomTxnKey(room(n), historyTxn(n, seq)), store.SeqValue(seq)),
			tx.Set(store.RoomHeadKey(room(n)), store.SeqValue(seq)))
	})
	return seq, err
}

// checkHistory returns the head of each room and the first thing that is not as it
// should be.
func checkHistory(s *store.Store) (heads [historyRooms]uint64, err error) {
	err = s.View(func(tx *store.Tx) error {
		for n := range heads {
			head, err := tx.Get(store.RoomHeadKey(room(n)))
			if err == nil {
				heads[n] = binary.BigEndian.Uint64(head)
			} else if !errors.Is(err, store.ErrNotFound) {
				return err
			}
			seq := uint64(0)
			for it, err := range tx.Scan(store.Scan{Prefix: store.RoomEntries(room(n))}) {
				if err != nil {
					return err
				}
				seq++
				_, got, err := store.ParseRoomEntry(it.Key)
				if err != nil || got != seq {
					return fmt.Errorf("room %d: entry %d where %d should be (%v)", n, got, seq, err)
				}
				if !bytes.Equal(it.Value, historyEntry(n, seq)) {
					return fmt.Errorf("room %d: entry %d has another value", n, seq)
				}
			}
			if seq != heads[n] {
				return fmt.Errorf("room %d: head %d, last entry %d", n, heads[n], seq)
			}
			txns := uint64(0)
			for it, err := range tx.Scan(store.Scan{Prefix: store.RoomTxns(room(n))}) {
				if err != nil {
					return err
				}
				seq, err := store.ParseSeqValue(it.Value)
				if err != nil || it.Key != store.RoomTxnKey(room(n), historyTxn(n, seq)) {
					return fmt.Errorf("room %d: transaction id of entry %d is wrong (%v)", n, seq, err)
				}
				txns++
			}
			if txns != heads[n] {
				return fmt.Errorf("room %d: head %d, %d transaction ids", n, heads[n], txns)
			}
		}
		return nil
	})
	return heads, err
}

// childAppend appends to all rooms until it is killed, or n times if n is given, and
// prints "room seq" after each acknowledgement.
func childAppend(args []string) error {
	s, err := run(small(args[0]))
	if err != nil {
		return err
	}
	limit := -1
	if len(args) > 1 {
		fmt.Sscan(args[1], &limit)
	}
	var group sync.WaitGroup
	for n := range historyRooms {
		group.Go(func() {
			for i := 0; i != limit; i++ {
				seq, err := appendHistory(context.Background(), s.Store, n)
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Printf("%d %d\n", n, seq) // one write call each, not buffered
			}
		})
	}
	group.Wait()
	if len(args) > 2 { // do not close: leave as a kill would
		return nil
	}
	return s.shut()
}

// childOpen opens and closes.
func childOpen(args []string) error {
	s, err := run(small(args[0]))
	if err != nil {
		return err
	}
	return s.shut()
}

// childCheck prints the heads, or the error.
func childCheck(args []string) error {
	s, err := run(small(args[0]))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	verify := s.Verify()
	heads, err := checkHistory(s.Store)
	if err != nil {
		err = fmt.Errorf("check: %w", err)
	}
	if verify != nil {
		err = errors.Join(fmt.Errorf("verify: %w", verify), err)
	}
	if err != nil {
		return err
	}
	fmt.Println(strings.Trim(fmt.Sprint(heads), "[]"))
	return s.shut()
}
