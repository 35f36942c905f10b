//go:build mutant_cosign_before_sync

package hub

const mutant = coSignBeforeSync
