package watch

import "errors"

// ErrConfig: Open was given a configuration that cannot work. The text says
// which value, and what it may be.
var ErrConfig = errors.New("watch: unusable configuration")

// ErrRunning: Run was called while it runs already. A mistake of the program.
var ErrRunning = errors.New("watch: already running")
