//go:build mutant_new_set_when_final

package hub

const mutant = newSetWhenFinal
