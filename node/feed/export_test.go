package feed

// Trimmed is how many keys were read to find the oldest events.
func (f *Feed) Trimmed() uint64 { return f.trimmed.Load() }
