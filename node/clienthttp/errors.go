package clienthttp

import "errors"

var (
	// ErrConfig says that New was given a configuration that cannot work.
	ErrConfig = errors.New("clienthttp: unusable configuration")
	// ErrPlaintext says that the API would be served without TLS on an address
	// that others reach, so that they could read tokens. Configure a certificate,
	// or listen on a loopback address behind a proxy that has one.
	ErrPlaintext = errors.New("clienthttp: refusing to serve without TLS beyond this machine")
	// ErrListen says that the address cannot be listened on, mostly because
	// something else does. It wraps the cause.
	ErrListen = errors.New("clienthttp: cannot listen")
)
