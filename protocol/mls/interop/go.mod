module github.com/mimid/mimid/protocol/mls/interop

go 1.26.6

replace github.com/mimid/mimid => ../../..

require (
	github.com/mimid/mimid v0.0.0
	github.com/thomas-vilte/mls-go v1.6.0
	pgregory.net/rapid v1.3.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
