//go:build mutant_log_check_final_only

package hub

const mutant = logCheckFinalOnly
