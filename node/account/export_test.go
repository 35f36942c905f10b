package account

// CachedTokens is how many tokens are in memory.
func (r *Registry) CachedTokens() int {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	return len(r.tokens.young) + len(r.tokens.old)
}
