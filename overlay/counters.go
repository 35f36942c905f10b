package overlay

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// counters count what operators watch. They exist without a registry too.
type counters struct {
	lookups, published, received, rejected prometheus.Counter
}

// newCounters registers the counters, and gauges that read the overlay when asked.
func newCounters(o *Overlay, reg prometheus.Registerer) (*counters, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "mimid", Subsystem: "overlay", Name: name, Help: help})
	}
	gauge := func(name, help string, fn func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "mimid", Subsystem: "overlay", Name: name, Help: help}, fn)
	}
	c := &counters{
		lookups:   counter("record_lookups_total", "Lookups of provider records in the DHT."),
		published: counter("topic_messages_published_total", "Messages published to topics."),
		received:  counter("topic_messages_received_total", "Distinct messages received from topics."),
		rejected:  counter("topic_messages_rejected_total", "Messages of topics that were rejected."),
	}
	if reg == nil {
		return c, nil
	}
	live := func(fn func(*running) int) func() float64 {
		return func() float64 {
			if n := o.net.Load(); n != nil {
				return float64(fn(n))
			}
			return 0
		}
	}
	for _, x := range []prometheus.Collector{
		c.lookups, c.published, c.received, c.rejected,
		gauge("connected_peers", "Peers connected to.", live(func(n *running) int { return len(n.host.Network().Peers()) })),
		gauge("routing_table_peers", "Peers in the routing table of the DHT.", live(func(n *running) int { return n.dht.RoutingTable().Size() })),
		gauge("topics", "Joined topics.", live(func(n *running) int { return n.gossip.count() })),
		gauge("known_providers", "Providers whose record or pin is known.", func() float64 { p, _ := o.trust.totals(); return float64(p) }),
		gauge("key_conflicts", "Provider records refused because another key had signed them, over all names.", func() float64 { _, c := o.trust.totals(); return float64(c) }),
	} {
		if err := reg.Register(x); err != nil {
			var twice prometheus.AlreadyRegisteredError
			if errors.As(err, &twice) {
				return nil, fmt.Errorf("%w: Registerer: two overlays need two registries", ErrConfig)
			}
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return c, nil
}
