//go:build mutant_new_set_at_once

package hub

const mutant = newSetAtOnce
