package mls

import "fmt"

// ProposalType is a registered proposal type (RFC 9420 section 17.4).
type ProposalType uint16

// Proposal types that this engine interprets.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
	// draft-ietf-mls-extensions
	ProposalAppDataUpdate ProposalType = 8
	ProposalSelfRemove    ProposalType = 10
)

// implied types need no place in capabilities (section 7.2).
func (t ProposalType) implied() bool {
	return t >= ProposalAdd && t <= ProposalGroupContextExtensions
}

// needsPath says whether a commit with such a proposal must have an
// UpdatePath (section 17.4). Of an unknown type nothing is known, so it does.
func (t ProposalType) needsPath() bool {
	switch t {
	case ProposalAdd, ProposalPSK, ProposalReInit, ProposalAppDataUpdate, ProposalAppEphemeral:
		return false
	}
	return true
}

// ProposalAppEphemeral carries application data along a commit and changes
// nothing; it is handed to the caller, undigested.
const ProposalAppEphemeral ProposalType = 9

// Proposal is one change to a group (section 12.1). Exactly one field beside
// Type is in use:
//
//	struct {
//	    ProposalType proposal_type;
//	    select (proposal_type) {
//	        case add:      KeyPackage key_package;
//	        case update:   LeafNode leaf_node;
//	        case remove:   uint32 removed;
//	        case psk:      PreSharedKeyID psk;
//	        case reinit:   ReInit;
//	        case external_init: opaque kem_output<V>;
//	        case group_context_extensions: Extension extensions<V>;
//	        case app_data_update: AppDataUpdate;
//	        case app_ephemeral: {ComponentID component_id; opaque data<V>;}
//	        case self_remove: struct{};
//	        default: opaque content<V>;  /* ours: no RFC gives a shape */
//	    };
//	} Proposal;
type Proposal struct {
	Type ProposalType

	Add        *KeyPackage
	Update     *LeafNode
	Remove     LeafIndex
	PSK        *PreSharedKeyID
	ReInit     *ReInit
	KEMOutput  []byte     // external_init
	Extensions Extensions // group_context_extensions
	AppData    *AppDataUpdate
	// Component is set for app_ephemeral.
	Component ComponentID
	// Content is the data of app_ephemeral, or the content of an unknown type.
	Content []byte
}

func (p *Proposal) read(r *reader) {
	switch p.Type = ProposalType(r.U16()); p.Type {
	case 0:
		r.Fail(ErrMalformed, "proposal type 0")
	case ProposalAdd:
		p.Add = new(KeyPackage)
		p.Add.read(r)
	case ProposalUpdate:
		p.Update = new(LeafNode)
		p.Update.read(r)
	case ProposalRemove:
		p.Remove = LeafIndex(r.U32())
	case ProposalPSK:
		p.PSK = new(PreSharedKeyID)
		p.PSK.read(r)
	case ProposalReInit:
		p.ReInit = new(ReInit)
		p.ReInit.read(r)
	case ProposalExternalInit:
		p.KEMOutput = r.Opaque()
	case ProposalGroupContextExtensions:
		p.Extensions = r.extensions()
	case ProposalAppDataUpdate:
		p.AppData = new(AppDataUpdate)
		p.AppData.read(r)
	case ProposalAppEphemeral:
		p.Component = ComponentID(r.U16())
		p.Content = r.Opaque()
	case ProposalSelfRemove:
	default:
		p.Content = r.Opaque()
	}
}

func (p *Proposal) append(b []byte) []byte {
	b = appendU16(b, uint16(p.Type))
	switch p.Type {
	case ProposalAdd:
		return p.Add.append(b)
	case ProposalUpdate:
		return p.Update.append(b)
	case ProposalRemove:
		return appendU32(b, uint32(p.Remove))
	case ProposalPSK:
		return p.PSK.append(b)
	case ProposalReInit:
		return p.ReInit.append(b)
	case ProposalExternalInit:
		return appendOpaque(b, p.KEMOutput)
	case ProposalGroupContextExtensions:
		return p.Extensions.append(b)
	case ProposalAppDataUpdate:
		return p.AppData.append(b)
	case ProposalAppEphemeral:
		return appendOpaque(appendU16(b, uint16(p.Component)), p.Content)
	case ProposalSelfRemove:
		return b
	}
	return appendOpaque(b, p.Content)
}

// complete says whether the field that Type names is there, for proposals that
// a caller built.
func (p *Proposal) complete() error {
	ok := true
	switch p.Type {
	case 0, ProposalExternalInit:
		ok = p.Type != 0 && p.KEMOutput != nil
	case ProposalAdd:
		ok = p.Add != nil
	case ProposalUpdate:
		ok = p.Update != nil
	case ProposalPSK:
		ok = p.PSK != nil
	case ProposalReInit:
		ok = p.ReInit != nil
	case ProposalAppDataUpdate:
		ok = p.AppData != nil && (p.AppData.Op == AppDataSet || p.AppData.Op == AppDataRemove)
	}
	if !ok {
		return fmt.Errorf("proposal of type %d without its content: %w", p.Type, ErrBadProposal)
	}
	return nil
}

// ParseProposal reads a bare proposal.
func ParseProposal(b []byte, lim Limits) (*Proposal, error) {
	p := new(Proposal)
	if err := parse(b, lim, "Proposal", p.read); err != nil {
		return nil, err
	}
	return p, nil
}

// Bytes encodes the bare proposal.
func (p *Proposal) Bytes() []byte { return p.append(nil) }

// ReInit closes a group in favour of a new one with other parameters
// (section 12.1.5):
//
//	struct {
//	    opaque group_id<V>;
//	    ProtocolVersion version;
//	    CipherSuite cipher_suite;
//	    Extension extensions<V>;
//	} ReInit;
type ReInit struct {
	GroupID    []byte
	Version    ProtocolVersion
	Suite      CipherSuite
	Extensions Extensions
}

func (x *ReInit) read(r *reader) {
	x.GroupID = r.Opaque()
	x.Version = ProtocolVersion(r.U16())
	x.Suite = CipherSuite(r.U16())
	x.Extensions = r.extensions()
}

func (x *ReInit) append(b []byte) []byte {
	b = appendOpaque(b, x.GroupID)
	b = appendU16(appendU16(b, uint16(x.Version)), uint16(x.Suite))
	return x.Extensions.append(b)
}

// proposalOrRef is an element of a commit:
//
//	struct {
//	    ProposalOrRefType type;  /* proposal(1), reference(2) */
//	    select (type) { case proposal: Proposal; case reference: opaque ref<V>; };
//	} ProposalOrRef;
type proposalOrRef struct {
	proposal *Proposal
	ref      []byte
}

func (p *proposalOrRef) read(r *reader) {
	switch t := r.U8(); t {
	case 1:
		p.proposal = new(Proposal)
		p.proposal.read(r)
	case 2:
		p.ref = r.Opaque()
		if r.Err() == nil && len(p.ref) != hashSize {
			r.Fail(ErrMalformed, "proposal reference of %d bytes", len(p.ref))
		}
	default:
		r.Fail(ErrMalformed, "ProposalOrRef type %d", t)
	}
}

func (p *proposalOrRef) append(b []byte) []byte {
	if p.proposal != nil {
		return p.proposal.append(append(b, 1))
	}
	return appendOpaque(append(b, 2), p.ref)
}

// commit is {ProposalOrRef proposals<V>; optional<UpdatePath> path}
// (section 12.4).
type commit struct {
	proposals []proposalOrRef
	path      *updatePath
}

func (c *commit) read(r *reader) {
	r.List(r.lim.Proposals, func() {
		var p proposalOrRef
		p.read(r)
		c.proposals = append(c.proposals, p)
	})
	if r.Optional() {
		c.path = new(updatePath)
		c.path.read(r)
	}
}

func (c *commit) append(b []byte) []byte {
	b = appendList(b, func(b []byte) []byte {
		for i := range c.proposals {
			b = c.proposals[i].append(b)
		}
		return b
	})
	b = appendOptional(b, c.path != nil)
	if c.path != nil {
		b = c.path.append(b)
	}
	return b
}

// updatePath refreshes the keys from a committer's leaf to the root
// (section 7.6):
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    HPKECiphertext encrypted_path_secret<V>;
//	} UpdatePathNode;
//	struct { LeafNode leaf_node; UpdatePathNode nodes<V>; } UpdatePath;
type updatePath struct {
	leaf  LeafNode
	nodes []pathNode
}

type pathNode struct {
	key     []byte
	secrets []HPKECiphertext
}

func (u *updatePath) read(r *reader) {
	u.leaf.read(r)
	r.List(32, func() { // deeper than any tree of 2^31 leaves
		n := pathNode{key: r.Opaque()}
		r.List(r.lim.Leaves, func() {
			var c HPKECiphertext
			c.read(r)
			n.secrets = append(n.secrets, c)
		})
		u.nodes = append(u.nodes, n)
	})
}

func (u *updatePath) append(b []byte) []byte {
	b = u.leaf.append(b)
	return appendList(b, func(b []byte) []byte {
		for _, n := range u.nodes {
			b = appendOpaque(b, n.key)
			b = appendList(b, func(b []byte) []byte {
				for i := range n.secrets {
					b = n.secrets[i].append(b)
				}
				return b
			})
		}
		return b
	})
}
