//go:build mutant_forget_resubmission

package hub

const mutant = forgetResubmission
