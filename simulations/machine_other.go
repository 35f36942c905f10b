//go:build !linux

package simulations

func cpuModel() string { return "" }
