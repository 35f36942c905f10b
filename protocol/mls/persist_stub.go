package mls

type savedState struct{}

const partOwn, partEpoch = "own", "epoch"

func (*savedState) noteCommit(*PublicGroup, *Change) {}
func (*savedState) noteProposal(*UsedProposal)       {}
func (*savedState) noteAll(*PublicGroup)             {}
func (*savedState) note(string)                      {}
func (*savedState) notePath(nodeIndex)               {}
func (*savedState) noteUpdate(string)                {}
func (*savedState) noteKey(uint64, treePart)         {}
func (*savedState) notePast(uint64)                  {}
func (*savedState) noteResumption(uint64)            {}
