package gossip

import "time"

// Bound is the least time after which each node could have a message of some octets that one
// publishes now: along the fastest way through the connected nodes, each of which has to check it and
// send it once. Nothing that only uses these connections is faster.
func (n *Network) Bound(from, size int) []time.Duration {
	const never = time.Duration(1<<63 - 1)
	best := make([]time.Duration, len(n.nodes))
	for i := range best {
		best[i] = never
	}
	sending := n.model.Sending(size + Envelope)
	queue := []reach{{0, from}}
	best[from] = 0
	for len(queue) > 0 {
		r := queue[0]
		queue = pop(queue)
		if r.at > best[r.node] {
			continue
		}
		hop := sending
		if r.node != from {
			hop += n.spec.Process.D()
		}
		for _, k := range n.nodes[r.node].known {
			if at := r.at + hop + n.model.Latency(r.node, int(k)); at < best[k] {
				best[k] = at
				queue = push(queue, reach{at, int(k)})
			}
		}
	}
	return best
}

type reach struct {
	at   time.Duration
	node int
}

func push(q []reach, r reach) []reach {
	q = append(q, r)
	i := len(q) - 1
	for i > 0 && q[(i-1)/2].at > q[i].at {
		q[i], q[(i-1)/2] = q[(i-1)/2], q[i]
		i = (i - 1) / 2
	}
	return q
}

func pop(q []reach) []reach {
	last := len(q) - 1
	q[0] = q[last]
	q = q[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return q
		}
		if c+1 < last && q[c+1].at < q[c].at {
			c++
		}
		if q[i].at <= q[c].at {
			return q
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}
