package wire

import (
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/presentation"
)

// ConsentOperation says what a ConsentEntry does (one octet).
type ConsentOperation uint8

// Consent operations: the first two travel as requestConsent, the others as
// updateConsent.
const (
	ConsentCancel  ConsentOperation = 0
	ConsentRequest ConsentOperation = 1
	ConsentGrant   ConsentOperation = 2
	ConsentRevoke  ConsentOperation = 3
)

var consentNames = []string{"cancel", "request", "grant", "revoke"}

func (o ConsentOperation) String() string { return enumName(o, "ConsentOperation", consentNames) }

// ConsentScope says who may fetch whose KeyPackages, and for which room
// (section 5.7):
//
//	struct {
//	    IdentifierUri requesterUri;
//	    IdentifierUri targetUri;
//	    optional<IdentifierUri> roomId;     /* empty here: any room */
//	} ConsentScope;
//
// Scopes compare with ==.
type ConsentScope struct {
	Requester IdentifierURI
	Target    IdentifierURI
	Room      IdentifierURI
}

func (s *ConsentScope) read(r *reader) {
	s.Requester = r.uri("requesterUri")
	s.Target = r.uri("targetUri")
	s.Room = r.optionalURI("roomId")
}

func (s *ConsentScope) append(b []byte) []byte {
	return appendOptionalURI(appendURI(appendURI(b, s.Requester), s.Target), s.Room)
}

func (s *ConsentScope) check() error {
	return firstError(checkURI(s.Requester, "requesterUri"), checkURI(s.Target, "targetUri"))
}

// ParseConsentScope reads a scope.
func ParseConsentScope(b []byte, lim Limits) (*ConsentScope, error) {
	s := new(ConsentScope)
	if err := parse(b, lim, "ConsentScope", s); err != nil {
		return nil, err
	}
	return s, nil
}

// Bytes encodes the scope.
func (s *ConsentScope) Bytes() ([]byte, error) { return encode("ConsentScope", s) }

// ConsentEntry asks for consent, gives it or takes it back (section 5.7):
//
//	struct {
//	    ConsentOperation consentOperation;
//	    IdentifierUri requesterUri;
//	    IdentifierUri targetUri;
//	    optional<IdentifierUri> roomId;
//	    select (consentOperation) { case grant: KeyPackage clientKeyPackages<V>; };
//	    AppDataDictionary consent_extensions;
//	} ConsentEntry;
//
// KeyPackages go with a grant only; there may be none.
type ConsentEntry struct {
	Operation   ConsentOperation
	Scope       ConsentScope
	KeyPackages []*mls.KeyPackage
	Extensions  mls.Dictionary
}

func (m *ConsentEntry) read(r *reader) {
	m.Operation = readEnum[ConsentOperation](r, "ConsentOperation", consentNames)
	m.Scope.read(r)
	if m.Operation == ConsentGrant {
		r.List(r.lim.Clients, func() {
			k := new(mls.KeyPackage)
			k.Read(r.Reader, r.lim.Limits)
			m.KeyPackages = append(m.KeyPackages, k)
		})
	}
	m.Extensions = r.dictionary()
}

func (m *ConsentEntry) append(b []byte) []byte {
	b = m.Scope.append(append(b, byte(m.Operation)))
	if m.Operation == ConsentGrant {
		b = presentation.AppendList(b, func(b []byte) []byte {
			for _, k := range m.KeyPackages {
				b = k.Append(b)
			}
			return b
		})
	}
	return m.Extensions.Append(b)
}

func (m *ConsentEntry) check() error {
	if err := firstError(checkEnum(m.Operation, "ConsentOperation", consentNames), m.Scope.check()); err != nil {
		return err
	}
	if len(m.KeyPackages) > 0 && m.Operation != ConsentGrant {
		return contradiction("%v with %d KeyPackages", m.Operation, len(m.KeyPackages))
	}
	for i, k := range m.KeyPackages {
		if k == nil {
			return contradiction("KeyPackage %d is nil", i)
		}
	}
	return nil
}

// ParseConsentEntry reads a request body. The bytes are copied.
func ParseConsentEntry(b []byte, lim Limits) (*ConsentEntry, error) {
	m := new(ConsentEntry)
	if err := parse(b, lim, "ConsentEntry", m); err != nil {
		return nil, err
	}
	return m, nil
}

// Bytes encodes the entry. Error: ErrCombination for KeyPackages without a
// grant.
func (m *ConsentEntry) Bytes() ([]byte, error) { return encode("ConsentEntry", m) }
