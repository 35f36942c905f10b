package policy

import "github.com/mimid/mimid/protocol/presentation"

// Extended is what clients of a room can, may or must not do in MLS:
//
//	struct {
//	    ProtocolVersion versions<V>;
//	    CipherSuite cipher_suites<V>;
//	    ExtensionType extensions<V>;
//	    ProposalType proposals<V>;
//	    CredentialType credentials<V>;
//	    WireFormat wire_formats<V>;
//	    ComponentID component_ids<V>;
//	    ComponentID safe_aad_types<V>;
//	    MediaType media_types<V>;
//	    ContentType content_types<V>;    /* uint8 */
//	} ExtendedCapabilities;
type Extended struct {
	Versions, Suites, Extensions, Proposals, Credentials, WireFormats, Components, SafeAAD []uint16
	MediaTypes                                                                             []MediaType
	ContentTypes                                                                           []uint8
}

func (x *Extended) numbers() []*[]uint16 {
	return []*[]uint16{&x.Versions, &x.Suites, &x.Extensions, &x.Proposals, &x.Credentials, &x.WireFormats, &x.Components, &x.SafeAAD}
}

func (x *Extended) read(r reader) {
	for _, list := range x.numbers() {
		*list = readList(r, r.U16)
	}
	x.MediaTypes, x.ContentTypes = readList(r, r.mediaType), readList(r, r.U8)
}

func (x *Extended) append(b []byte) []byte {
	for _, list := range x.numbers() {
		b = appendEach(b, *list, presentation.AppendU16)
	}
	return appendEach(appendEach(b, x.MediaTypes, appendMediaType), x.ContentTypes, func(b []byte, x uint8) []byte { return append(b, x) })
}

func (x *Extended) check() error {
	for _, list := range x.numbers() {
		if len(*list) > maxList {
			return invalid("%d capabilities of a kind, at most %d", len(*list), maxList)
		}
	}
	if max(len(x.MediaTypes), len(x.ContentTypes)) > maxList {
		return invalid("more than %d media or content types", maxList)
	}
	for _, m := range x.MediaTypes {
		if err := m.check(); err != nil {
			return err
		}
	}
	return nil
}

// PendingStrategy says when members commit what others proposed.
//
//	enum { unspecified(0), immediate_commit(1), random_delay(2), (255) } PendingProposalStrategy;
//
// The draft selects by an "extension" that the enum lacks; it is not read.
type PendingStrategy uint8

// The values of PendingStrategy.
const (
	PendingUnspecified PendingStrategy = 0
	PendingImmediate   PendingStrategy = 1
	PendingDelayed     PendingStrategy = 2
)

var pendingNames = []string{"unspecified", "immediate_commit", "random_delay"}

func (s PendingStrategy) String() string { return named(s, pendingNames) }

// Times are a least, a usual and a greatest time:
//
//	struct { uint64 minimum_time; uint64 default_time; uint64 maximum_time; } MinDefaultMaxTime;
type Times struct{ Min, Default, Max uint64 }

func (t *Times) read(r reader) { t.Min, t.Default, t.Max = r.U64(), r.U64(), r.U64() }

func (t *Times) append(b []byte) []byte {
	return presentation.AppendU64(presentation.AppendU64(presentation.AppendU64(b, t.Min), t.Default), t.Max)
}

func (t *Times) ordered() bool { return t.Min <= t.Default && t.Default <= t.Max }

// Operational is the component mls_operational_policy (draft-ietf-mimi-room-policy section
// 9.1):
//
//	struct {
//	    PendingProposalStrategy pending_proposal_strategy;
//	    select (pending_proposal_strategy) {
//	        case random_delay: uint64 minimum_delay_ms; uint64 maximum_delay_ms;
//	    }
//	} PendingProposalPolicy;
//
//	struct {
//	    ExtendedCapabilities mandatory_capabilities;
//	    ExtendedCapabilities default_capabilities;
//	    ExtendedCapabilities forbidden_capabilities;
//	    WireFormat handshake_formats<V>;
//	    bool external_proposal_allowed;
//	    bool external_commit_allowed;
//	    PendingProposalPolicy pending_proposal_policy;
//	    MinDefaultMaxTime LeafNode_update_time;
//	    struct { uint8 epoch_tolerance; uint16 pad_to_size; uint32 max_generations_skipahead; } app_message_policy;
//	    uint64 max_kp_lifetime;
//	    uint64 max_credential_lifetime;
//	    uint64 resumption_psk_lifetime;
//	    MinDefaultMaxTime sender_nonce_keypair_lifetime;
//	    uint32 max_keypairs;
//	    MinDefaultMaxTime buffer_incoming_message_time;
//	    uint32 max_buffered_messages;
//	} OperationalParameters;
//
// Of it, external_commit_allowed is judged by all who follow the room. The rest is for
// clients to read.
type Operational struct {
	Mandatory, Usual, Forbidden          Extended
	HandshakeFormats                     []uint16
	ExternalProposals, ExternalCommits   bool
	Pending                              PendingStrategy
	MinDelay, MaxDelay                   uint64 // ms, of PendingDelayed
	LeafUpdate                           Times
	EpochTolerance                       uint8
	PadTo                                uint16
	MaxSkip                              uint32
	KeyPackageLifetime                   uint64
	CredentialLifetime, ResumptionPSKFor uint64
	SenderKeys                           Times
	MaxKeyPairs                          uint32
	Buffer                               Times
	MaxBuffered                          uint32
}

// ParseOperational reads mls_operational_policy. Error: ErrComponent.
func ParseOperational(b []byte) (*Operational, error) {
	p := new(Operational)
	err := parse("operational policy", b, func(r reader) {
		p.Mandatory.read(r)
		p.Usual.read(r)
		p.Forbidden.read(r)
		p.HandshakeFormats = readList(r, r.U16)
		p.ExternalProposals, p.ExternalCommits = r.bool(), r.bool()
		if p.Pending = PendingStrategy(r.enum("pending_proposal_strategy", len(pendingNames))); p.Pending == PendingDelayed {
			p.MinDelay, p.MaxDelay = r.U64(), r.U64()
		}
		p.LeafUpdate.read(r)
		p.EpochTolerance, p.PadTo, p.MaxSkip = r.U8(), r.U16(), r.U32()
		p.KeyPackageLifetime, p.CredentialLifetime, p.ResumptionPSKFor = r.U64(), r.U64(), r.U64()
		p.SenderKeys.read(r)
		p.MaxKeyPairs = r.U32()
		p.Buffer.read(r)
		p.MaxBuffered = r.U32()
	}, p.check)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Append appends the encoding.
func (p *Operational) Append(b []byte) []byte {
	b = p.Forbidden.append(p.Usual.append(p.Mandatory.append(b)))
	b = appendEach(b, p.HandshakeFormats, presentation.AppendU16)
	b = append(appendBool(appendBool(b, p.ExternalProposals), p.ExternalCommits), byte(p.Pending))
	if p.Pending == PendingDelayed {
		b = presentation.AppendU64(presentation.AppendU64(b, p.MinDelay), p.MaxDelay)
	}
	b = append(p.LeafUpdate.append(b), p.EpochTolerance)
	b = presentation.AppendU32(presentation.AppendU16(b, p.PadTo), p.MaxSkip)
	b = presentation.AppendU64(presentation.AppendU64(presentation.AppendU64(b, p.KeyPackageLifetime), p.CredentialLifetime), p.ResumptionPSKFor)
	b = presentation.AppendU32(p.SenderKeys.append(b), p.MaxKeyPairs)
	return presentation.AppendU32(p.Buffer.append(b), p.MaxBuffered)
}

// Check says whether a policy can be written. Error: ErrComponent.
func (p *Operational) Check() error {
	if err := p.check(); err != nil {
		return err
	}
	return within(p.Append(nil))
}

func (p *Operational) check() error {
	for _, x := range []*Extended{&p.Mandatory, &p.Usual, &p.Forbidden} {
		if err := x.check(); err != nil {
			return err
		}
	}
	switch {
	case len(p.HandshakeFormats) > maxList:
		return invalid("%d wire formats, at most %d", len(p.HandshakeFormats), maxList)
	case p.Pending > PendingDelayed || p.Pending != PendingDelayed && (p.MinDelay > 0 || p.MaxDelay > 0) || p.MinDelay > p.MaxDelay:
		return invalid("proposals are committed by %s, after %d to %d ms", p.Pending, p.MinDelay, p.MaxDelay)
	case !p.LeafUpdate.ordered() || !p.SenderKeys.ordered() || !p.Buffer.ordered():
		return invalid("times that are not in order")
	}
	return nil
}
