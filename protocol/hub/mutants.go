package hub

// Bugs to be planted by a build tag, one file each, so that the search can prove
// that it would find them. In the ordinary build mutant is the constant 0 and the
// compiler leaves nothing of them.
const (
	noTermFence = iota + 1
	coSignBeforeSync
	voteNotDurable
	logCheckFinalOnly
	newSetAtOnce
	newSetWhenFinal
	handOverAlone
	quorumOffByOne
	forgetResubmission
	eraCrossing
	restoredSigns
	releaseTakenBack
	newSetStandsOnly
	moveCountsHub
	frozenUnbound
	frozenForgets
	restoredMoves
	eraUnproven
	liarsLeftOut
	frozenVotes
	frozenShows
)
