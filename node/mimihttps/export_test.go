package mimihttps

import "crypto/tls"

var OnlyPublic = onlyPublic

// Shown is the certificate that is shown now.
func Shown(c *Certificate) *tls.Certificate { return c.current() }
