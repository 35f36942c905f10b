package contact

import "context"

// KnownSecrets is how many secrets are in memory.
func (s *Service) KnownSecrets() int {
	s.secrets.mu.Lock()
	defer s.secrets.mu.Unlock()
	return len(s.secrets.known)
}

// TakeDerivations takes all places for deriving secrets.
func (s *Service) TakeDerivations() (release func()) {
	n := cap(s.secrets.places)
	for range n {
		s.secrets.places <- struct{}{}
	}
	return func() {
		for range n {
			<-s.secrets.places
		}
	}
}

// ExpireHeld drops what has been in quarantine for too long, as Run does.
func (s *Service) ExpireHeld(ctx context.Context) error { return s.expire(ctx) }
