//go:build !unix

package virtual

import "time"

// wall is virtual here: limits.wall then counts virtual time.
func wall() time.Duration { return time.Duration(time.Now().UnixNano()) }
