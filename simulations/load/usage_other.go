//go:build !linux

package load

import "syscall"

func childAttr() *syscall.SysProcAttr { return nil }

const manyAddresses = false

// usageOf knows nothing here.
func usageOf(int) (usage, error) { return usage{}, nil }
