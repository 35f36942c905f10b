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

// Look goes one round through all claims, looking for rivals; it returns how many it looked up.
func (s *Service) Look(ctx context.Context) (n int, err error) {
	var at watching
	for err == nil {
		before := at.after
		if err = s.lookOnce(ctx, &at); at.ended {
			return n, err
		}
		if at.after != before {
			n++
		}
	}
	return n, err
}
