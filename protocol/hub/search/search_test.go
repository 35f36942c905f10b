package search_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/mimid/mimid/protocol/hub/search"
)

// TestScenarios searches every scenario up to a number of states: 26,000 each,
// 10,000 with -short, MIMID_HUB_STATES each if that is set (0: to the end).
func TestScenarios(t *testing.T) {
	limit, least := 26_000, 1_000_000
	if testing.Short() {
		limit, least = 10_000, 100_000
	}
	if v := os.Getenv("MIMID_HUB_STATES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("reading MIMID_HUB_STATES: %v", err)
		}
		limit, least = n, 0
	}
	only := os.Getenv("MIMID_HUB_SCENARIO")
	total := 0
	for _, s := range search.Scenarios() {
		if !strings.HasPrefix(s.Name, only) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			s.Limit = limit
			r := search.Run(s)
			t.Log(r)
			if r.Violation != "" {
				t.Error("a sentence of the protocol is broken")
			}
			total += r.States
		})
	}
	t.Logf("%d distinct states", total)
	if total < least && only == "" {
		t.Errorf("only %d states were looked at, want %d", total, least)
	}
}
