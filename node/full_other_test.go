//go:build !linux

package node_test

import "errors"

func mountDisk(string, string) error { return errors.New("a disk of its own needs Linux") }
