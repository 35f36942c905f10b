package overlay_test

import (
	"testing"

	"pgregory.net/rapid"
)

func TestRapid(t *testing.T) { rapid.Check(t, func(t *rapid.T) {}) }
