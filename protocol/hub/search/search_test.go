package search_test

import (
	"testing"

	"github.com/mimid/mimid/protocol/hub/search"
)

func TestScenarios(t *testing.T) {
	for _, s := range search.Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			s.Limit = 300_000
			r := search.Run(s)
			t.Log(r)
			if r.Violation != "" {
				t.Error("violated")
			}
		})
	}
}
