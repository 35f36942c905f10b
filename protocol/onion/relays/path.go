package relays

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"

	"github.com/mimid/mimid/protocol/onion"
)

// Path draws a packet's way: the entry, if there is one, a relay of each layer, the exit. No two
// of them have an operator, a provider, a network or an address group in common, but that entry
// and exit may, since they are whom sender and recipient have chosen and not drawn.
//
// All combinations of mixes that may be are equally likely. The entry sends on at once, and mixes
// after delays that are drawn from an exponential distribution: that makes it a packet like any
// other, however long it has waited already.
func (a *Active) Path(random io.Reader, entry, exit *Relay) ([]onion.Relay, error) {
	ends := []*Relay{exit}
	if entry != nil {
		ends = append(ends, entry)
	}
	var may [Layers][]*Relay
	for i, layer := range a.Layers {
		for _, r := range layer {
			fits := true
			for _, e := range ends {
				fits = fits && r.apart(e)
			}
			if fits {
				may[i] = append(may[i], r)
			}
		}
	}
	mixes, err := drawMixes(random, may)
	if err != nil {
		return nil, fmt.Errorf("drawing a path of epoch %d: %w", a.Epoch, err)
	}
	var path []onion.Relay
	add := func(r *Relay, delay time.Duration) error {
		key, ok := r.Key(a.Epoch)
		if !ok {
			return fmt.Errorf("%w: a relay has no key of epoch %d", ErrNoPath, a.Epoch)
		}
		path = append(path, onion.Relay{Node: r.node, Key: key, Delay: delay})
		return nil
	}
	if entry != nil {
		if err := add(entry, 0); err != nil {
			return nil, err
		}
	}
	for _, r := range mixes {
		delay, err := Exponential(random, a.Delay)
		if err != nil {
			return nil, fmt.Errorf("drawing a delay: %w", err)
		}
		if err := add(r, delay); err != nil {
			return nil, err
		}
	}
	return path, add(exit, 0)
}

// drawMixes draws one of the combinations that are apart, each equally likely: any combination,
// until one is; or, where most are not, by counting all of them, which are 262,144 at most.
func drawMixes(random io.Reader, may [Layers][]*Relay) (mixes [Layers]*Relay, err error) {
	for range 32 {
		for i, layer := range may {
			if len(layer) == 0 {
				return mixes, ErrNoPath
			}
			n, err := below(random, uint64(len(layer)))
			if err != nil {
				return mixes, err
			}
			mixes[i] = layer[n]
		}
		if mixes[0].apart(mixes[1]) && mixes[0].apart(mixes[2]) && mixes[1].apart(mixes[2]) {
			return mixes, nil
		}
	}
	var total uint64
	combinations(may, func([Layers]*Relay) bool { total++; return true })
	if total == 0 {
		return mixes, ErrNoPath
	}
	n, err := below(random, total)
	if err != nil {
		return mixes, err
	}
	combinations(may, func(c [Layers]*Relay) bool {
		mixes = c
		n--
		return n != math.MaxUint64
	})
	return mixes, nil
}

// combinations calls each for all mixes that are apart from each other, in the layers' order,
// until it says false.
func combinations(may [Layers][]*Relay, each func([Layers]*Relay) bool) {
	for _, a := range may[0] {
		for _, b := range may[1] {
			if !a.apart(b) {
				continue
			}
			for _, c := range may[2] {
				if a.apart(c) && b.apart(c) && !each([Layers]*Relay{a, b, c}) {
					return
				}
			}
		}
	}
}

// below draws a number in [0, n), each equally likely.
func below(random io.Reader, n uint64) (uint64, error) {
	for {
		x, err := draw(random)
		if err != nil {
			return 0, err
		}
		// Lemire's method: the upper half of a product, and again if the lower half is in the
		// part that would make some numbers likelier.
		hi, lo := bits.Mul64(x, n)
		if lo >= -n%n {
			return hi, nil
		}
	}
}

func draw(random io.Reader) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(random, b[:])
	return binary.BigEndian.Uint64(b[:]), err
}

// Exponential draws a delay with a mean, in whole milliseconds, at most onion.MaxDelay. Relays'
// own loops and cover are spaced by it, too.
func Exponential(random io.Reader, mean time.Duration) (time.Duration, error) {
	x, err := draw(random)
	if err != nil {
		return 0, err
	}
	// 53 bits, and not zero: u in (0, 1].
	u := float64(x>>11+1) / (1 << 53)
	d := time.Duration(-math.Log(u) * float64(mean)).Round(time.Millisecond)
	return min(d, onion.MaxDelay), nil
}
