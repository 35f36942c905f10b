package watch_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/mimid/mimid/node/watch"
)

func room(i int) (r [32]byte) {
	binary.BigEndian.PutUint32(r[:], uint32(i))
	return r
}

func number(r [32]byte) int { return int(binary.BigEndian.Uint32(r[:])) }

// drain lets a pace go on until no room waits, asking each time when it says,
// and returns when each room went, in order.
func drain(t *testing.T, p *watch.Pace, now time.Time, each func(now time.Time)) (rooms []int, times []time.Time) {
	t.Helper()
	for asked := 0; ; asked++ {
		if asked > 100_000 {
			t.Fatal("the pace has the caller ask again and again")
		}
		for _, r := range p.Next(now) {
			rooms, times = append(rooms, number(r)), append(times, now)
		}
		if each != nil {
			each(now)
		}
		wait, ok := p.Wait(now)
		if !ok {
			return rooms, times
		}
		now = now.Add(wait)
	}
}

// fastest returns how many rooms went in the fullest second.
func fastest(times []time.Time) (most int) {
	from := 0
	for i, at := range times {
		for at.Sub(times[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

var epoch = time.Unix(1_000_000, 0)

func TestTenThousandIdleRoomsElectSlowlyInOrder(t *testing.T) {
	p := watch.NewPace(watch.PaceConfig{})
	for i := range 10_000 {
		p.Add(room(i), false)
	}
	rooms, times := drain(t, p, epoch, nil)
	if len(rooms) != 10_000 {
		t.Fatalf("%d of 10,000 rooms elected", len(rooms))
	}
	for i, r := range rooms {
		if r != i {
			t.Fatalf("room %d went as number %d", r, i)
		}
	}
	if got := fastest(times); got != 10 {
		t.Errorf("%d elections in one second, want 10", got)
	}
	if took := times[9999].Sub(epoch); took != 999*time.Second {
		t.Errorf("all moved after %v", took)
	}
}

func TestIdleRoomsGoInGroups(t *testing.T) {
	for _, c := range []struct {
		cfg   watch.PaceConfig
		at    []time.Duration // when groups go
		sizes []int
	}{
		{watch.PaceConfig{}, []time.Duration{0, time.Second, 2 * time.Second}, []int{10, 10, 4}},
		{watch.PaceConfig{Together: 1, Rate: 5, Idle: 5}, nil, nil}, // evenly
		{watch.PaceConfig{Together: 12, Rate: 50, Idle: 6}, []time.Duration{0, 2 * time.Second}, []int{12, 12}},
		{watch.PaceConfig{Together: 100, Rate: 12, Idle: 24}, []time.Duration{0, time.Second}, []int{12, 12}},
	} {
		p := watch.NewPace(c.cfg)
		for i := range 24 {
			p.Add(room(i), false)
		}
		_, times := drain(t, p, epoch, nil)
		var at []time.Duration
		var sizes []int
		for i, x := range times {
			if i == 0 || x != times[i-1] {
				at, sizes = append(at, x.Sub(epoch)), append(sizes, 0)
			}
			sizes[len(sizes)-1]++
		}
		if c.at == nil {
			for i, x := range at {
				if x != time.Duration(i)*200*time.Millisecond {
					t.Errorf("%+v: room %d goes after %s", c.cfg, i, x)
				}
			}
			continue
		}
		if !slices.Equal(at, c.at) || !slices.Equal(sizes, c.sizes) {
			t.Errorf("%+v: groups of %v at %v, want %v at %v", c.cfg, sizes, at, c.sizes, c.at)
		}
	}
}

func TestRoomsWithTrafficGoFirstAndTogetherWithinTheRate(t *testing.T) {
	p := watch.NewPace(watch.PaceConfig{})
	for i := range 10_000 {
		p.Add(room(i), false)
	}
	for i := 20_000; i < 20_120; i++ {
		p.Add(room(i), true)
	}
	late := epoch.Add(10*time.Second + time.Millisecond)
	added := false
	rooms, times := drain(t, p, epoch, func(now time.Time) {
		if !added && !now.Before(late) {
			added = true
			for i := 30_000; i < 30_200; i++ {
				p.Add(room(i), true)
			}
		}
	})
	if got := fastest(times); got != 50 {
		t.Errorf("%d elections in the fullest second, want 50", got)
	}
	last := map[int]time.Time{} // by thousands
	for i, r := range rooms {
		if i < 120 && r != 20_000+i {
			t.Fatalf("room %d went as number %d", r, i)
		}
		last[r/10_000] = times[i]
	}
	if took := last[2].Sub(epoch); took != 2*time.Second {
		t.Errorf("120 rooms with traffic took %v, want 2s", took)
	}
	if took := last[3].Sub(late); took > 5*time.Second {
		t.Errorf("200 rooms with traffic that came later took %v", took)
	}
	if len(rooms) != 10_320 {
		t.Errorf("%d rooms elected", len(rooms))
	}
}

func TestARoomThatGetsTrafficMovesUp(t *testing.T) {
	p := watch.NewPace(watch.PaceConfig{Rate: 1})
	for i := range 5 {
		p.Add(room(i), false)
	}
	p.Add(room(3), true)
	p.Add(room(3), false) // it keeps its place
	p.Add(room(4), false)
	p.Remove(room(1))
	p.Remove(room(1))
	p.Remove(room(77))
	if p.Len() != 4 {
		t.Errorf("%d rooms wait, want 4", p.Len())
	}
	rooms, times := drain(t, p, epoch, nil)
	want := []int{3, 0, 2, 4}
	for i := range want {
		if len(rooms) != len(want) || rooms[i] != want[i] {
			t.Fatalf("order %v, want %v", rooms, want)
		}
	}
	if fastest(times) != 1 {
		t.Error("more than one election in a second")
	}
}

func TestAFailedRoomWaitsAgainBehindTheOthers(t *testing.T) {
	p := watch.NewPace(watch.PaceConfig{Rate: 1})
	p.Add(room(0), true)
	p.Add(room(1), true)
	if got := p.Next(epoch); len(got) != 1 || number(got[0]) != 0 {
		t.Fatalf("went %v", got)
	}
	p.Add(room(0), true)
	rooms, _ := drain(t, p, epoch, nil)
	if len(rooms) != 2 || rooms[0] != 1 || rooms[1] != 0 {
		t.Errorf("order %v", rooms)
	}
}

func TestAClockThatGoesBackNeitherStopsNorSpeedsThePace(t *testing.T) {
	p := watch.NewPace(watch.PaceConfig{Rate: 2})
	for i := range 4 {
		p.Add(room(i), true)
	}
	if got := len(p.Next(epoch)); got != 2 {
		t.Errorf("%d went at first", got)
	}
	if got := len(p.Next(epoch.Add(-time.Hour))); got != 0 {
		t.Errorf("%d went an hour before", got)
	}
	if wait, ok := p.Wait(epoch.Add(-time.Hour)); !ok || wait != time.Second {
		t.Errorf("wait %v, want one second", wait)
	}
	if got := len(p.Next(epoch.Add(time.Second))); got != 2 {
		t.Errorf("%d went a second later", got)
	}
	if _, ok := p.Wait(epoch); ok {
		t.Error("an empty pace says when to come again")
	}
}
