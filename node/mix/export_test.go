package mix

// Expected is how many acknowledgements a Sender waits for whose Run has ended.
func Expected(s *Sender) int { return len(s.expected) }

// Wanted is how many answers by reply blocks a Sender waits for whose Run has ended.
func Wanted(s *Sender) int { return len(s.wanted) }
