package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/mimid/mimid/node/outside"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// register adds what the node counts to its own registry; nothing is global.
func (n *Node) register(p *parts) {
	counter := func(name, help string, f func() float64) {
		p.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "mimid", Name: name, Help: help}, f))
	}
	gauge := func(name, help string, f func() float64) {
		p.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "mimid", Name: name, Help: help}, f))
	}
	r := p.rooms.Stats
	counter("room_entries_ordered_total", "Log entries that this provider ordered as a hub.", func() float64 { return float64(r().Ordered) })
	counter("room_entries_followed_total", "Log entries of other hubs, verified and stored.", func() float64 { return float64(r().Followed) })
	counter("room_submissions_duplicate_total", "Submissions that had been made before.", func() float64 { return float64(r().Duplicates) })
	counter("room_submissions_refused_total", "Submissions that rooms refused.", func() float64 { return float64(r().Refused) })
	counter("room_ranges_total", "Pieces of logs asked of other providers.", func() float64 { return float64(r().Ranges) })
	counter("room_nudges_total", "Providers told directly that rooms went on.", func() float64 { return float64(r().Nudges) })
	gauge("rooms", "Rooms in the store.", func() float64 { return float64(r().Rooms) })
	gauge("rooms_loaded", "Rooms in memory.", func() float64 { return float64(r().Loaded) })
	gauge("rooms_broken", "Rooms whose log cannot be followed.", func() float64 { return float64(r().Broken) })
	counter("room_entries_decided_total", "Log entries that became final by a majority of replicas.", func() float64 { return float64(r().Decided) })
	counter("room_entries_aside_total", "Log entries of former hubs that were set aside.", func() float64 { return float64(r().Aside) })
	counter("room_hub_terms_total", "Times that this provider became a room's hub.", func() float64 { return float64(r().Led) })
	counter("room_liars_total", "Providers found to have signed two histories of a room.", func() float64 { return float64(r().Convicted) })
	counter("replica_messages_total", "Messages to other replicas.", func() float64 { return float64(r().Said) })
	counter("store_functions_total", "Functions in durable commits.", func() float64 { return float64(p.store.Stats().Functions) })
	counter("store_commits_total", "Commits, each with its fsync.", func() float64 { return float64(p.store.Stats().Commits) })
	gauge("client_streams", "Event streams of clients.", func() float64 { return float64(p.clients.Streams()) })
	counter("outbox_delivered_total", "Deliveries that other providers took.", func() float64 { return float64(p.outbox.Stats().Delivered) })
	counter("outbox_dropped_total", "Deliveries that were refused for good.", func() float64 { return float64(p.outbox.Stats().Dropped) })
	counter("abuse_reports_total", "Reports of abuse, verified and kept for the operator.", func() float64 { return float64(p.abuse.Stats().Received) })
	counter("abuse_reports_forged_total", "Reports of abuse that showed nothing.", func() float64 { return float64(r().Forged) })
	counter("abuse_reports_resolved_total", "Reports of abuse that the operator resolved.", func() float64 { return float64(p.abuse.Stats().Resolved) })
	gauge("abuse_reports_open", "Reports of abuse that wait for the operator.", func() float64 { return float64(p.abuse.Stats().Open) })
	gauge("users_without_key_package", "Users who cannot be added to rooms, since no device has a KeyPackage.", func() float64 { return float64(p.stock.Counts().None) })
	gauge("users_with_dry_device", "Users with a device that has no KeyPackage, and one that has.", func() float64 { return float64(p.stock.Counts().Partly) })
	gauge("users_on_last_resort", "Users with a device that has its last resort only.", func() float64 { return float64(p.stock.Counts().Reserve) })
	gauge("seen_from_outside", "Whether strangers can claim KeyPackages here: 1 yes, -1 no, 0 not known.", func() float64 {
		return [...]float64{outside.Unknown: 0, outside.Seen: 1, outside.Unseen: -1}[p.outside.Report().State]
	})
	n.registerOnion(p, counter, gauge)
	p.registry.MustRegister(heldMetrics{p.contacts.Held})
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// serveMetrics serves /metrics, /healthz (the process answers) and /readyz (the
// node serves).
func (n *Node) serveMetrics(ctx context.Context) error {
	p := n.parts
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{Registry: p.registry}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := n.readiness(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte("ready\n"))
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		srv.Shutdown(end)
	}()
	err := srv.Serve(p.metrics)
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}
