//go:build !unix

package load

import "errors"

const canFreeze = false

func (p *provider) freeze() error { return errors.ErrUnsupported }

func (p *provider) thaw() {}
