package main

import "syscall"

// childAttr has a provider of the demo end with the demo, even if that is killed.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
