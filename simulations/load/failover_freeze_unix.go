//go:build unix

package load

import (
	"fmt"
	"syscall"
)

const canFreeze = true

// freeze stops the process: it does nothing, and its connections stay open.
func (p *provider) freeze() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("%w: stopping %s: %w", ErrProvider, p.domain, err)
	}
	return nil
}

// thaw has the process go on. If it does not stand still, nothing happens.
func (p *provider) thaw() {
	if p.cmd != nil && p.cmd.Process != nil {
		p.cmd.Process.Signal(syscall.SIGCONT)
	}
}
