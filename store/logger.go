package store

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// badgerLog passes Badger's messages on to slog. Badger's "error" is a warning here:
// an error that matters reaches the caller as an error, and it is the caller who says
// how bad it is.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, args ...any)   { l.log.Warn("badger", "text", text(f, args)) }
func (l badgerLog) Warningf(f string, args ...any) { l.log.Warn("badger", "text", text(f, args)) }
func (l badgerLog) Infof(f string, args ...any)    { l.debug(f, args) }
func (l badgerLog) Debugf(f string, args ...any)   { l.debug(f, args) }

func (l badgerLog) debug(f string, args []any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("badger", "text", text(f, args))
	}
}

func text(f string, args []any) string { return strings.TrimSpace(fmt.Sprintf(f, args...)) }
