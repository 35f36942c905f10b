package ration_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mimid/mimid/node/ration"
)

var start = time.Unix(1_700_000_000, 0)

func TestBudgetIsSpentAndComesBack(t *testing.T) {
	r := ration.New(ration.Config{PerSecond: 2, Burst: 3})
	for i := range 3 {
		if ok, _ := r.Take("a", 1, start); !ok {
			t.Fatalf("refused number %d of a budget of 3", i+1)
		}
	}
	ok, wait := r.Take("a", 1, start)
	if ok || wait != 500*time.Millisecond {
		t.Fatalf("over budget: granted %t, wait %v, want refusal and 500 ms", ok, wait)
	}
	if ok, _ := r.Take("b", 1, start); !ok {
		t.Error("one key's use counted against another")
	}
	if ok, _ := r.Take("a", 1, start.Add(wait)); !ok {
		t.Error("refused after the wait that was asked for")
	}
	if ok, _ := r.Take("a", 1, start.Add(-time.Hour)); ok {
		t.Error("a clock that goes back gave budget")
	}
	if ok, _ := r.Take("a", 4, start.Add(time.Hour)); ok {
		t.Error("granted more than the whole budget")
	}
}

func TestTakeUpTo(t *testing.T) {
	r := ration.New(ration.Config{PerSecond: 1, Burst: 5})
	if n := r.TakeUpTo("a", 3, start); n != 3 {
		t.Fatalf("took %d of 3", n)
	}
	if n := r.TakeUpTo("a", 3, start); n != 2 {
		t.Fatalf("took %d, 2 were left", n)
	}
	r.Return("a", 1)
	r.Return("a", 100)
	if n := r.TakeUpTo("a", 100, start); n != 5 {
		t.Fatalf("took %d, giving back must not exceed the budget of 5", n)
	}
}

// A flood of made-up keys takes no memory beyond the bound, and nothing from
// those who are known.
func TestFloodOfKeys(t *testing.T) {
	r := ration.New(ration.Config{PerSecond: 1, Burst: 2, MaxKeys: 10})
	r.Take("known", 1, start)
	granted := 0
	for i := range 1000 {
		if ok, _ := r.Take(fmt.Sprint("flood ", i), 2, start); ok {
			granted++
		}
	}
	if r.Len() > 10 {
		t.Errorf("%d keys in memory, at most 10", r.Len())
	}
	if granted != 9+1 {
		t.Errorf("%d grants to 1,000 made-up keys, want 9 that found a place and one of the shared budget", granted)
	}
	if ok, _ := r.Take("known", 1, start); !ok {
		t.Error("the flood took from a known key")
	}
	later := start.Add(time.Minute)
	if ok, _ := r.Take("newcomer", 2, later); !ok || r.Len() != 1 {
		t.Errorf("after the flood: %d keys in memory, want the newcomer's alone", r.Len())
	}
}

func TestNewRefusesNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a budget of nothing was accepted")
		}
	}()
	ration.New(ration.Config{Burst: 1})
}
