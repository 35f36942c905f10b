package feed

import "github.com/mimid/mimid/protocol/presentation"

// Trimmed is how many keys were read to find the oldest events.
func (f *Feed) Trimmed() uint64 { return f.trimmed.Load() }

// InboxEvent reads a stored event, and writes it again.
func InboxEvent(b []byte) ([]byte, error) {
	ev, err := parseInbox(b)
	if err != nil {
		return nil, err
	}
	if ev.shared {
		return append(presentation.AppendOpaque([]byte{versionShared}, []byte(ev.event)), ev.hash[:]...), nil
	}
	return presentation.AppendOpaque(presentation.AppendOpaque([]byte{version}, []byte(ev.event)), ev.data), nil
}
