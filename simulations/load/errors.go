package load

import "errors"

var (
	// ErrConfig: a run that makes no sense, such as one with one provider. The text
	// names the value.
	ErrConfig = errors.New("load: unusable configuration")
	// ErrProvider: a provider's process does not start, or ends before its time. The
	// text has the end of its log.
	ErrProvider = errors.New("load: a provider does not run")
	// ErrRefused: a provider refuses what it must take, or answers nonsense. The text
	// has its words.
	ErrRefused = errors.New("load: a provider refuses")
	// ErrLate: not everything has arrived in time. The text says how much has.
	ErrLate = errors.New("load: not everything arrived in time")
)
