// Package failover is a simulation.
package failover
