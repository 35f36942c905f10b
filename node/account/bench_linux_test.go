package account_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// These compare a claim of a user with five devices to what it cannot do without, in one run:
// go test -run - -bench Claim -benchtime 20000x ./node/account. The store is on a disk with
// fsync; many claims come at once, so that they share one. cpu-us is what all cores spent on
// one, which is what counts for a claim of 4,000 per core and second: at most 250.

const (
	benchDevices  = 5
	benchPackages = 50
	benchAtOnce   = 256
)

// cpu is what this process has spent.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs do b.N times, many at once, each with another number.
func measure(b *testing.B, do func(i int) error) {
	var next atomic.Int64
	time.Sleep(2 * time.Second) // the store brings in order what was made before
	b.SetParallelism(benchAtOnce)
	b.ResetTimer()
	begin, spent := time.Now(), cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(int(next.Add(1)) - 1); err != nil {
				b.Error(err)
				return
			}
		}
	})
	took := time.Since(begin)
	b.ReportMetric(float64((cpu(b)-spent).Microseconds())/float64(b.N), "cpu-us/op")
	b.ReportMetric(float64(b.N)/took.Seconds(), "op/s")
}

// onDisk has a world keep its things on a disk.
func onDisk(b *testing.B) (*world, *store.Store) {
	st, err := store.Open(store.Options{Dir: b.TempDir()})
	must(b, err)
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- st.Run(run) }()
	b.Cleanup(func() {
		cancel()
		<-ended
		st.Close(ctx)
	})
	return newWorld(b, func(c *account.Config) {
		c.Store = st
		c.Claims.PerSecond, c.Claims.Burst = 1e9, 1e9
	}), st
}

func BenchmarkClaimOf5Devices(b *testing.B) {
	w, st := onDisk(b)
	users := (b.N + benchPackages - 1) / benchPackages
	all := make([]*device, users)
	for i := range users {
		key := ed25519.NewKeyFromSeed(fmt.Appendf(nil, "%032d", i))
		for j := range benchDevices {
			d := w.register(fmt.Sprint("u", i), fmt.Sprint("d", j), key)
			must(b, w.Stuff(ctx, d.Identity, w.keyPackage(d, 30*day, false), uint64(w.now.Add(30*day).Unix()), benchPackages))
			all[i] = d
		}
	}
	before := st.Stats().Commits
	measure(b, func(i int) error {
		got, err := w.Claim(ctx, account.Claim{Target: all[i%users].User, Requester: fmt.Sprintf("mimi://biloxi.example/u/u%d", i), Room: "mimi://biloxi.example/r/x",
			Provider: fmt.Sprintf("p%d.example", i%64), Suites: suite1})
		if err == nil && (got.Status != wire.KeyMaterialSuccess || len(got.Clients) != benchDevices) {
			err = fmt.Errorf("claim %d got %v with %d clients", i, got.Status, len(got.Clients))
		}
		return err
	})
	b.ReportMetric(float64(b.N)/float64(st.Stats().Commits-before), "op/commit")
}

// What a claim writes, and nothing else.
func BenchmarkClaimBareTransaction(b *testing.B) {
	w, st := onDisk(b)
	d := w.register("alice", "phone", userKey(b))
	kp := w.keyPackage(d, 30*day, false)
	key := func(kind byte, i, j int) store.Key {
		return store.SpaceKeyPackages.Key(fmt.Appendf(nil, "%c%064d%d", kind, i, j))
	}
	for i := range b.N {
		must(b, st.Update(ctx, func(tx *store.Tx) error {
			for j := range benchDevices {
				if err := tx.Set(key(11, i, j), kp); err != nil {
					return err
				}
			}
			return nil
		}))
		if i == 2000 { // enough to be taken away
			break
		}
	}
	used := make([]byte, 64)
	measure(b, func(i int) error {
		return st.Update(ctx, func(tx *store.Tx) error {
			for j := range benchDevices {
				if err := tx.Set(key(12, i, j), kp); err != nil {
					return err
				}
				if err := tx.Set(key(13, i, j), used); err != nil {
					return err
				}
				if err := tx.Delete(key(11, i%2000, j)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// The signatures that a request costs before: the request's, and its credential's two.
func BenchmarkClaimSignatures(b *testing.B) {
	w, _ := onDisk(b)
	d := w.register("alice", "phone", userKey(b))
	m := &wire.KeyMaterialRequest{RequestingUser: wire.IdentifierURI(d.User.String()), TargetUser: "mimi://biloxi.example/u/bob",
		Suites: []mls.CipherSuite{mls.X25519AES128Ed25519}, Credential: d.cred}
	must(b, m.Sign(d.signer))
	measure(b, func(int) error {
		_, err := m.Verify(w.cfg.Authenticator, w.now)
		return err
	})
}
