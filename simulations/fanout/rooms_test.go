package fanout_test

import (
	"strconv"
	"testing"
)

// Many rooms of sizes by Zipf's law: everybody gets everything in each, more of them are small than large, and a hub that sends to
// each itself is slower the larger the room. A seed is one run.
func TestRooms(t *testing.T) {
	const p = "nodes = 100\nmode = \"direct\"\nmessages = 3\nevery = \"2s\"\narrivals = \"poisson\"\nrooms = {count = 60, zipf = 1.2, least = 3}\nlinks = {model = \"fixed\", low = \"20ms\", uplink = 1.0}\n"
	r, again := execute(t, 1, p), execute(t, 1, p)
	if a, b := r.Outcomes[0], again.Outcomes[0]; a.Digest != b.Digest || a.Events != b.Events || a.Digest == execute(t, 2, p).Outcomes[0].Digest {
		t.Error("a seed is not one run")
	}
	rooms := map[int]int{}
	last := map[int]float64{}
	for _, g := range r.Groups() {
		size, err := strconv.Atoi(g.Label("size"))
		if err != nil || size < 2 || size > 64 {
			t.Fatalf("%s of a room of %q", g.Metric, g.Label("size"))
		}
		switch g.Metric {
		case "reached":
			rooms[size] = g.Count / 3
			if g.Min != 1 {
				t.Errorf("rooms of %d: a message reached %.2f of them", size, g.Min)
			}
		case "last":
			last[size] = g.P50
		}
	}
	all := 0
	for _, n := range rooms {
		all += n
	}
	if all != 60 || rooms[2]+rooms[4] < 25 || rooms[64] > 12 {
		t.Errorf("%d rooms, of these by size %v", all, rooms)
	}
	if len(last) < 4 || last[4] >= last[16] || last[16] >= last[32] {
		t.Errorf("until the last has it, by size: %v", last)
	}
	// What all of a room are sent at once by a line of 1 Mbit/s takes 8 ms each.
	if last[2] < 20 || last[2] > 100 {
		t.Errorf("rooms of three: the last has it after %.1f ms", last[2])
	}
}
