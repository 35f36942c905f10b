package mls

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// onAllCores calls f for 0 to n-1, in batches, on as many goroutines as there
// are cores, and returns when all of them have ended. Work stops early after
// an error; of the errors seen the one with the lowest index is returned, so
// that a single bad element gives the same error on any machine.
func onAllCores(n int, f func(i int) error) error {
	const batch = 8
	if n <= batch {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var failed atomic.Bool
	errs := make([]error, n)
	work := func() {
		for !failed.Load() {
			from := int(next.Add(batch)) - batch
			if from >= n {
				return
			}
			for i := from; i < min(from+batch, n); i++ {
				if errs[i] = f(i); errs[i] != nil {
					failed.Store(true)
				}
			}
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n/batch) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
