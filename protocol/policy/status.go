package policy

// Status is the component status_notification_policy (draft-ietf-mimi-room-policy section
// 8.1): whether clients tell that a message came, and that it was read.
//
//	struct {
//	    Optionality delivery_notifications;
//	    Optionality read_receipts;
//	} StatusNotificationPolicy;
//
// A room without it leaves both to the users.
type Status struct {
	Delivery, Read Optionality
}

// ParseStatus reads status_notification_policy. Error: ErrComponent.
func ParseStatus(b []byte) (*Status, error) {
	p := new(Status)
	err := parse("status policy", b, func(r reader) {
		p.Delivery, p.Read = Optionality(r.enum("delivery_notifications", 3)), Optionality(r.enum("read_receipts", 3))
	}, p.Check)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Check says whether a policy can be written. Error: ErrComponent.
func (p *Status) Check() error {
	if p.Delivery > Forbidden || p.Read > Forbidden {
		return invalid("delivery %s, read %s", p.Delivery, p.Read)
	}
	return nil
}

// Append appends the encoding.
func (p *Status) Append(b []byte) []byte { return append(b, byte(p.Delivery), byte(p.Read)) }
