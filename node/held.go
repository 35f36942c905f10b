package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimid/mimid/node/contact"
)

// heldMetrics counts what is kept for users of strangers, at each scrape: totals, and what the provider
// that has most there has, but neither users nor providers.
type heldMetrics struct {
	held func() (contact.Held, error)
}

var _ prometheus.Collector = heldMetrics{}

func heldDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("mimid_held_"+name, help, nil, nil)
}

// Describe implements prometheus.Collector.
func (h heldMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, m := range h.values(contact.Held{}) {
		to <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (h heldMetrics) Collect(to chan<- prometheus.Metric) {
	now, err := h.held()
	for _, m := range h.values(now) {
		if err != nil {
			to <- prometheus.NewInvalidMetric(m.desc, err)
			continue
		}
		to <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(m.value))
	}
}

type heldValue struct {
	desc  *prometheus.Desc
	value int
}

func (heldMetrics) values(h contact.Held) []heldValue {
	return []heldValue{
		{heldDesc("rooms", "Rooms in quarantine, of all users."), h.Rooms},
		{heldDesc("rooms_of_one_provider", "Rooms in quarantine that users of one other provider have made: the most of any."), h.RoomsOfOne},
		{heldDesc("welcome_octets", "Octets of Welcomes to rooms in quarantine, of all users."), h.Octets},
		{heldDesc("requests", "Requests for consent that wait for an answer, of all users."), h.Requests},
		{heldDesc("requests_of_one_provider", "Requests for consent of users of one other provider that wait: the most of any."), h.RequestsOfOne},
		{heldDesc("providers", "Providers of which something is in quarantine or waits."), h.Providers},
	}
}
