package contact

import (
	"context"
	"net/http"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
)

func absent() error {
	return problem(http.StatusServiceUnavailable, clientapi.CodeUnavailable, "this provider does not offer discovery yet: use the user's full name")
}

// Run announces the own users' identifiers until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// PublishClaim publishes an identifier of an own user.
func (s *Service) PublishClaim(context.Context, account.Identity, *clientapi.NewClaim) (*clientapi.Claim, error) {
	return nil, absent()
}

// Claims lists the user's identifiers.
func (s *Service) Claims(context.Context, account.Identity) (*clientapi.Claims, error) {
	return &clientapi.Claims{Claims: []clientapi.Claim{}}, nil
}

// WithdrawClaim ends a claim.
func (s *Service) WithdrawClaim(context.Context, account.Identity, *clientapi.WithdrawClaim) error {
	return absent()
}

// Discover finds the owners of an identifier.
func (s *Service) Discover(context.Context, account.Identity, *clientapi.Discover) (*clientapi.Discovered, error) {
	return nil, absent()
}
