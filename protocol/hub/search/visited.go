package search

// visited is a set of 64-bit fingerprints in an open-addressing table, which
// doubles when it is three quarters full. Zero marks an empty slot.
type visited struct {
	slots []uint64
	n     int
}

func newVisited() *visited { return &visited{slots: make([]uint64, 1<<16)} }

// add reports whether the fingerprint is new.
func (v *visited) add(fp uint64) bool {
	if fp == 0 {
		fp = 1
	}
	if v.n*4 >= len(v.slots)*3 {
		old := v.slots
		v.slots = make([]uint64, 2*len(old))
		for _, f := range old {
			if f != 0 {
				v.slots[v.find(f)] = f
			}
		}
	}
	i := v.find(fp)
	if v.slots[i] == fp {
		return false
	}
	v.slots[i] = fp
	v.n++
	return true
}

func (v *visited) find(fp uint64) uint64 {
	mask := uint64(len(v.slots) - 1)
	i := (fp * 0x9e3779b97f4a7c15 >> 20) & mask
	for v.slots[i] != 0 && v.slots[i] != fp {
		i = (i + 1) & mask
	}
	return i
}
