package anonymity

import "math"

// Limit is the entropy, in bits, that a packet has after so many layers of mixes if each mix holds many packets: of rate packets
// a second in all, each kept for the mean delay, in seconds, in each layer.
//
// What comes out then is spread over time as the sum of the delays is, so the entropy is that of
// the Erlang distribution (the differential one, in seconds) and the logarithm of the rate: log2(rate*delay) + c, where c is 1.44,
// 2.28, 2.67, 2.92, 3.11 for one to five layers. In one layer a packet mixes with those of its own mix only, of width.
//
// It is a bound that is reached from below: a mix that holds few mixes less.
func Limit(rate, delay float64, layers, width int) float64 {
	if layers < 1 || rate <= 0 || delay <= 0 {
		return 0
	}
	if layers == 1 {
		rate /= float64(width)
	}
	return math.Log2(rate*delay) + erlang(layers)
}

// erlang is the differential entropy, in bits, of the sum of k exponential times of mean 1: k + ln Γ(k) + (1-k) ψ(k) nats.
func erlang(k int) float64 {
	const euler = 0.57721566490153286
	digamma := -euler
	for i := 1; i < k; i++ {
		digamma += 1 / float64(i)
	}
	gamma, _ := math.Lgamma(float64(k))
	return (float64(k) + gamma + float64(1-k)*digamma) / math.Ln2
}
