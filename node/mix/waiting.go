package mix

import (
	"container/heap"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

// A waiting packet leaves when it is due.
type waiting struct {
	due    time.Time
	number uint64 // those that are due at one time leave in the order in which they came
	next   onion.NodeID
	packet []byte
}

// delayed are the packets that wait for their time. How many there may be is the Relay's matter.
type delayed struct {
	heap  packets
	count uint64
}

func (d *delayed) add(w waiting) {
	d.count++
	w.number = d.count
	heap.Push(&d.heap, w)
}

// pop takes out a packet that is due.
func (d *delayed) pop(now time.Time) (waiting, bool) {
	if len(d.heap) == 0 || d.heap[0].due.After(now) {
		return waiting{}, false
	}
	return heap.Pop(&d.heap).(waiting), true
}

// next is when the first is due; false if none waits.
func (d *delayed) next() (time.Time, bool) {
	if len(d.heap) == 0 {
		return time.Time{}, false
	}
	return d.heap[0].due, true
}

// packets implement heap.Interface.
type packets []waiting

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	if !p[i].due.Equal(p[j].due) {
		return p[i].due.Before(p[j].due)
	}
	return p[i].number < p[j].number
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(waiting)) }
func (p *packets) Pop() any {
	old := *p
	last := len(old) - 1
	w := old[last]
	old[last] = waiting{} // or the array would keep the packet
	*p = old[:last]
	return w
}
