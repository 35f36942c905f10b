//go:build !mutant_no_term_fence && !mutant_cosign_before_sync && !mutant_vote_not_durable && !mutant_log_check_final_only && !mutant_new_set_at_once && !mutant_new_set_when_final && !mutant_hand_over_alone && !mutant_quorum_off_by_one && !mutant_forget_resubmission && !mutant_era_crossing && !mutant_frozen_unbound && !mutant_frozen_forgets && !mutant_restored_signs && !mutant_restored_moves && !mutant_release_taken_back && !mutant_new_set_stands_only && !mutant_move_counts_hub && !mutant_era_unproven && !mutant_liars_left_out && !mutant_frozen_votes && !mutant_frozen_shows

package hub

const mutant = 0
