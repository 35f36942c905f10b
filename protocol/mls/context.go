package mls

import (
	"bytes"
	"fmt"
)

// GroupContext is what all members of an epoch agree on (section 8.1):
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    CipherSuite cipher_suite;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque tree_hash<V>;
//	    opaque confirmed_transcript_hash<V>;
//	    Extension extensions<V>;
//	} GroupContext;
type GroupContext struct {
	Suite                   CipherSuite
	GroupID                 []byte
	Epoch                   uint64
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

func (c *GroupContext) read(r *reader) {
	if v := ProtocolVersion(r.U16()); v != MLS10 && r.Err() == nil {
		r.Fail(ErrUnsupported, "GroupContext of version %d", v)
	}
	c.Suite = CipherSuite(r.U16())
	c.GroupID = r.Opaque()
	c.Epoch = r.U64()
	c.TreeHash = r.Opaque()
	c.ConfirmedTranscriptHash = r.Opaque()
	c.Extensions = r.extensions()
}

func (c *GroupContext) append(b []byte) []byte {
	b = appendU16(appendU16(b, uint16(MLS10)), uint16(c.Suite))
	b = appendU64(appendOpaque(b, c.GroupID), c.Epoch)
	b = appendOpaque(appendOpaque(b, c.TreeHash), c.ConfirmedTranscriptHash)
	return c.Extensions.append(b)
}

// ParseGroupContext reads an encoded GroupContext.
func ParseGroupContext(b []byte, lim Limits) (*GroupContext, error) {
	c := new(GroupContext)
	if err := parse(b, lim, "GroupContext", c.read); err != nil {
		return nil, err
	}
	return c, nil
}

// Bytes encodes the context. Two members share an epoch if and only if these
// bytes are equal.
func (c *GroupContext) Bytes() []byte { return c.append(nil) }

// Equal says whether both contexts encode to the same bytes.
func (c *GroupContext) Equal(o *GroupContext) bool {
	return bytes.Equal(c.append(nil), o.append(nil))
}

// GroupInfo describes an epoch to those who are to join (section 12.4.3):
//
//	struct {
//	    GroupContext group_context;
//	    Extension extensions<V>;
//	    MAC confirmation_tag;
//	    uint32 signer;
//	    opaque signature<V>;  /* SignWithLabel(., "GroupInfoTBS", all but signature) */
//	} GroupInfo;
//
// It is unverified until NewPublicGroup, a join or Process took it.
type GroupInfo struct {
	Context         GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

func (g *GroupInfo) read(r *reader) {
	g.Context.read(r)
	g.Extensions = r.extensions()
	g.ConfirmationTag = r.Opaque()
	g.Signer = LeafIndex(r.U32())
	g.Signature = r.Opaque()
}

func (g *GroupInfo) tbs(b []byte) []byte {
	b = g.Context.append(b)
	b = g.Extensions.append(b)
	b = appendOpaque(b, g.ConfirmationTag)
	return appendU32(b, uint32(g.Signer))
}

func (g *GroupInfo) append(b []byte) []byte { return appendOpaque(g.tbs(b), g.Signature) }

// ParseGroupInfo reads a bare GroupInfo (not wrapped in an MLSMessage).
func ParseGroupInfo(b []byte, lim Limits) (*GroupInfo, error) {
	g := new(GroupInfo)
	if err := parse(b, lim, "GroupInfo", g.read); err != nil {
		return nil, err
	}
	return g, nil
}

// Bytes encodes the bare GroupInfo.
func (g *GroupInfo) Bytes() []byte { return g.append(nil) }

const groupInfoLabel = "GroupInfoTBS"

func (g *GroupInfo) sign(key SignatureKey) (err error) {
	g.Signature, err = key.sign(groupInfoLabel, g.tbs(nil))
	return err
}

func (g *GroupInfo) verifySignature(key []byte) error {
	return g.Context.Suite.verify(key, groupInfoLabel, g.tbs(nil), g.Signature)
}

// PSKType says where a pre-shared key comes from.
type PSKType uint8

// Types of pre-shared keys.
const (
	PSKExternal   PSKType = 1
	PSKResumption PSKType = 2
)

// ResumptionUsage says what a resumption PSK is for.
type ResumptionUsage uint8

// Usages of resumption PSKs.
const (
	ResumptionApplication ResumptionUsage = 1
	ResumptionReInit      ResumptionUsage = 2
	ResumptionBranch      ResumptionUsage = 3
)

// PreSharedKeyID names a pre-shared key (section 8.4):
//
//	struct {
//	    PSKType psktype;
//	    select (psktype) {
//	        case external:   opaque psk_id<V>;
//	        case resumption: ResumptionPSKUsage usage; opaque psk_group_id<V>; uint64 psk_epoch;
//	    };
//	    opaque psk_nonce<V>;  /* hashSize fresh random bytes */
//	} PreSharedKeyID;
type PreSharedKeyID struct {
	Type    PSKType
	ID      []byte // external
	Usage   ResumptionUsage
	GroupID []byte
	Epoch   uint64
	Nonce   []byte
}

func (p *PreSharedKeyID) read(r *reader) {
	switch p.Type = PSKType(r.U8()); p.Type {
	case PSKExternal:
		p.ID = r.Opaque()
	case PSKResumption:
		p.Usage = ResumptionUsage(r.U8())
		if r.Err() == nil && (p.Usage < ResumptionApplication || p.Usage > ResumptionBranch) {
			r.Fail(ErrMalformed, "resumption PSK usage %d", p.Usage)
		}
		p.GroupID = r.Opaque()
		p.Epoch = r.U64()
	default:
		r.Fail(ErrMalformed, "PSK type %d", p.Type)
	}
	p.Nonce = r.Opaque()
}

func (p *PreSharedKeyID) append(b []byte) []byte {
	b = append(b, byte(p.Type))
	if p.Type == PSKExternal {
		b = appendOpaque(b, p.ID)
	} else {
		b = appendU64(appendOpaque(append(b, byte(p.Usage)), p.GroupID), p.Epoch)
	}
	return appendOpaque(b, p.Nonce)
}

// Welcome lets the added clients of one commit in (section 12.4.3.1):
//
//	struct { opaque new_member<V>; HPKECiphertext encrypted_group_secrets; } EncryptedGroupSecrets;
//	struct {
//	    CipherSuite cipher_suite;
//	    EncryptedGroupSecrets secrets<V>;
//	    opaque encrypted_group_info<V>;
//	} Welcome;
type Welcome struct {
	Suite              CipherSuite
	secrets            []encryptedGroupSecrets
	encryptedGroupInfo []byte
}

type encryptedGroupSecrets struct {
	newMember []byte // KeyPackageRef
	secrets   HPKECiphertext
}

func (w *Welcome) read(r *reader) {
	w.Suite = CipherSuite(r.U16())
	r.List(r.lim.Leaves, func() {
		s := encryptedGroupSecrets{newMember: r.Opaque()}
		s.secrets.read(r)
		w.secrets = append(w.secrets, s)
	})
	w.encryptedGroupInfo = r.Opaque()
}

func (w *Welcome) append(b []byte) []byte {
	b = appendU16(b, uint16(w.Suite))
	b = appendList(b, func(b []byte) []byte {
		for i := range w.secrets {
			b = w.secrets[i].secrets.append(appendOpaque(b, w.secrets[i].newMember))
		}
		return b
	})
	return appendOpaque(b, w.encryptedGroupInfo)
}

// Recipients returns the KeyPackageRefs that the Welcome is for.
func (w *Welcome) Recipients() [][]byte {
	out := make([][]byte, len(w.secrets))
	for i := range w.secrets {
		out[i] = w.secrets[i].newMember
	}
	return out
}

// groupSecrets is what a Welcome encrypts to each new member:
//
//	struct {
//	    opaque joiner_secret<V>;
//	    optional<PathSecret> path_secret;  /* {opaque path_secret<V>} */
//	    PreSharedKeyID psks<V>;
//	} GroupSecrets;
type groupSecrets struct {
	joiner secret
	path   secret // nil where the commit had none for this member
	psks   []PreSharedKeyID
}

func (g *groupSecrets) read(r *reader) {
	g.joiner = r.Opaque()
	if r.Optional() {
		g.path = r.Opaque()
	}
	r.List(r.lim.ListEntries, func() {
		var p PreSharedKeyID
		p.read(r)
		g.psks = append(g.psks, p)
	})
}

func (g *groupSecrets) append(b []byte) []byte {
	b = appendOptional(appendOpaque(b, g.joiner), g.path != nil)
	if g.path != nil {
		b = appendOpaque(b, g.path)
	}
	return appendList(b, func(b []byte) []byte {
		for i := range g.psks {
			b = g.psks[i].append(b)
		}
		return b
	})
}

func (g *groupSecrets) check() error {
	if len(g.joiner) != hashSize || (g.path != nil && len(g.path) != hashSize) {
		return fmt.Errorf("GroupSecrets with a secret of wrong size: %w", ErrMalformed)
	}
	return nil
}
