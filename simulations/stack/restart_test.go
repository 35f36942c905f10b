package stack_test

import "testing"

// A hub that is killed and begins again with what it had stored: the others elect another one meanwhile, all that was final is
// there at the end with everybody, once, its own member's messages of the time in between are final, and it is served again.
func TestKilledHubBeginsAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("stores in files, and some seconds of CPU time")
	}
	r := run(t, "simulation = \"room\"\nseed = 3\n[parameters]\nproviders = 3\nsay = \"1s\"\ncalm = \"5s\"\nlasts = \"8s\"\nfault = \"restart\"\nlinks = {model = \"uniform\", low = \"10ms\", high = \"60ms\"}\n")
	for _, v := range r.Violations() {
		t.Error(v)
	}
	if g := of(t, r, "served"); g.Min != 1 {
		t.Errorf("%.2f of the others were served while the hub was away", g.Min)
	}
	if g := of(t, r, "told"); g.Count != 2 {
		t.Errorf("%d of the others know another hub", g.Count)
	}
	if g := of(t, r, "back"); g.Count != 1 || g.Max > 30_000 {
		t.Errorf("%d members of the returned provider are served, after %.0f ms", g.Count, g.Max)
	}
	for _, g := range r.Groups() {
		t.Logf("%-10s %5d  min %8.1f p50 %8.1f p95 %8.1f max %8.1f", g.Metric, g.Count, g.Min, g.P50, g.P95, g.Max)
	}
}
