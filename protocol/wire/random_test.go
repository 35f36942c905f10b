package wire_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"testing"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

// TestMain fixes the seed of random values, so that a run repeats. Search
// further with -rapid.seed=0 (a fresh one) and -rapid.checks=N.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.seed", "9420"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// gen draws the parts of structures.
type gen struct{ *rapid.T }

func (g gen) n(most int) int         { return rapid.IntRange(0, most).Draw(g.T, "n") }
func (g gen) yes() bool              { return rapid.Bool().Draw(g.T, "yes") }
func (g gen) u64() uint64            { return rapid.Uint64().Draw(g.T, "u64") }
func (g gen) u32() uint32            { return rapid.Uint32().Draw(g.T, "u32") }
func (g gen) bytes() []byte          { return rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(g.T, "bytes") }
func (g gen) text() string           { return rapid.StringN(0, 20, 100).Draw(g.T, "text") }
func (g gen) name() string           { return "n" + g.text() }
func (g gen) suite() mls.CipherSuite { return mls.CipherSuite(g.n(65535)) }

// uri draws octets, not text: nothing may depend on what they are.
func (g gen) uri() wire.IdentifierURI { return wire.IdentifierURI("m" + string(g.bytes())) }

func (g gen) room() wire.IdentifierURI {
	if g.yes() {
		return ""
	}
	return g.uri()
}

func (g gen) array() (a [32]byte) {
	copy(a[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(g.T, "array"))
	return a
}

func (g gen) credential() mls.Credential {
	if g.yes() {
		return mls.X509Credential(append(list(g, 2, g.bytes), []byte("c"))...)
	}
	return mls.BasicCredential(g.bytes())
}

func (g gen) dictionary() mls.Dictionary {
	d := mls.Dictionary{}
	for range g.n(3) {
		d[mls.ComponentID(g.n(65535))] = g.bytes()
	}
	return d
}

func (g gen) extensions() (out mls.Extensions) {
	for i := range g.n(3) {
		out = append(out, mls.Extension{Type: mls.ExtensionType(0xff00 + i), Data: g.bytes()})
	}
	return out
}

func (g gen) keyPackage() *mls.KeyPackage {
	k := read[mls.KeyPackage](kpHex)
	k.InitKey, k.Leaf.Credential, k.Extensions, k.Signature = g.bytes(), g.credential(), g.extensions(), g.bytes()
	return k
}

func (g gen) groupInfo() *mls.GroupInfo {
	i := read[mls.GroupInfo](groupInfo)
	i.Context.Epoch, i.Context.GroupID, i.Extensions, i.Signature = g.u64(), g.bytes(), g.extensions(), g.bytes()
	return i
}

// message draws one of a kind with another epoch.
func (g gen) message(kind string) *mls.Message {
	b := unhex(kind)
	copy(b[6:14], unhex(fmt.Sprintf("%016x", g.u64())))
	return message(hex.EncodeToString(b))
}

func (g gen) proposal() *mls.Message { return g.message(proposal) }

func (g gen) tree() *wire.RatchetTreeOption {
	o := &wire.RatchetTreeOption{Representation: wire.RatchetTreeRepresentation(1 + g.n(3))}
	switch o.Representation {
	case wire.TreeFull:
		o.Tree = read[mls.RatchetTree](treeHex)
	case wire.TreeHTTPS:
		o.URL, o.Signature = g.name(), g.bytes()
	case wire.TreeOutOfBand:
		o.Signature = g.bytes()
	}
	return o
}

func (g gen) frank() wire.Frank {
	return wire.Frank{ServerFrank: g.array(), Suite: g.suite(), Signature: g.bytes()}
}

func (g gen) maybeFrank() *wire.Frank {
	if g.yes() {
		return nil
	}
	f := g.frank()
	return &f
}

func list[T any](g gen, most int, each func() T) []T {
	out := []T{}
	for range g.n(most) {
		out = append(out, each())
	}
	return out
}

func (g gen) pairs() (out []wire.UserRolePair) {
	for i := range g.n(4) {
		out = append(out, wire.UserRolePair{User: wire.IdentifierURI(fmt.Sprint(i)) + g.uri(), Role: g.u32()})
	}
	return out
}

var generators = map[string]func(gen) body{
	"KeyMaterialRequest": func(g gen) body {
		return &wire.KeyMaterialRequest{RequestingUser: g.uri(), TargetUser: g.uri(), Room: g.room(),
			Suites: append(list(g, 40, g.suite), 1), SignatureKey: g.bytes(), Credential: g.credential(), Signature: g.bytes(),
			Required: mls.RequiredCapabilities{Proposals: list(g, 3, func() mls.ProposalType { return mls.ProposalType(g.n(65535)) })}}
	},
	"KeyMaterialResponse": func(g gen) body {
		m := &wire.KeyMaterialResponse{Status: wire.KeyMaterialUserCode(g.n(7)), User: g.uri()}
		if m.Status > wire.KeyMaterialNoCompatible || m.Status == wire.KeyMaterialIncompatibleProtocol {
			return m
		}
		for i := range 1 + g.n(4) {
			c := wire.ClientKeyMaterial{Client: wire.IdentifierURI(fmt.Sprint(i)) + g.uri()}
			switch {
			case m.Status == wire.KeyMaterialSuccess, m.Status == wire.KeyMaterialPartialSuccess && i == 0:
				c.KeyPackage = g.keyPackage()
			default:
				c.Status = wire.KeyMaterialClientCode(1 + g.n(1))
				if c.Status == wire.ClientNothingCompatible && g.yes() {
					c.Capabilities = &mls.Capabilities{Suites: list(g, 3, g.suite)}
				}
			}
			m.Clients = append(m.Clients, c)
		}
		return m
	},
	"UpdateRequest": func(g gen) body {
		if g.yes() {
			return &wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: g.proposal(), MoreProposals: list(g, 3, g.proposal)}}
		}
		h := wire.HandshakeBundle{Message: g.message(commit), Tree: g.tree(), GroupInfo: &wire.GroupInfoOption{Full: g.groupInfo()}}
		if g.yes() {
			h.Welcome = read[mls.Welcome](welcome)
		}
		if g.yes() {
			h.GroupInfo = &wire.GroupInfoOption{Partial: &wire.PartialGroupInfo{Presence: wire.RatchetTreePresence(g.n(3)),
				Extensions: g.extensions(), Signature: g.bytes()}}
		}
		return &wire.UpdateRequest{Bundle: h}
	},
	"UpdateRoomResponse": func(g gen) body {
		m := &wire.UpdateRoomResponse{Code: wire.UpdateResponseCode(g.n(3)), Description: g.text()}
		switch m.Code {
		case wire.UpdateSuccess:
			m.AcceptedAt = g.u64()
		case wire.UpdateWrongEpoch:
			m.CurrentEpoch = g.u64()
		case wire.UpdateInvalidProposal:
			m.InvalidProposals = list(g, 3, g.bytes)
		}
		return m
	},
	"SubmitMessageRequest": func(g gen) body {
		return &wire.SubmitMessageRequest{Message: g.message(appHex), SendingURI: g.uri()}
	},
	"SubmitMessageResponse": func(g gen) body {
		m := &wire.SubmitMessageResponse{Code: wire.SubmitResponseCode(g.n(2))}
		switch m.Code {
		case wire.SubmitAccepted:
			m.AcceptedAt, m.Frank = g.u64(), g.maybeFrank()
		case wire.SubmitEpochTooOld:
			m.CurrentEpoch = g.u64()
		}
		return m
	},
	"FrankAAD":          func(g gen) body { return &wire.FrankAAD{Tag: g.array()} },
	"FrankingAgentData": func(g gen) body { return &wire.FrankingAgentData{SignatureKey: g.bytes(), Credential: g.credential()} },
	"ServerFrankingContext": func(g gen) body {
		return &wire.ServerFrankingContext{Sender: g.uri(), Room: g.uri(), AcceptedAt: g.u64()}
	},
	"Frank": func(g gen) body { f := g.frank(); return &f },
	"Fanout": func(g gen) body {
		f := wire.Fanout{}
		for range 1 + g.n(4) {
			m := &wire.FanoutMessage{Timestamp: g.u64()}
			switch g.n(4) {
			case 0:
				m.Message, m.Frank = g.message(appHex), g.maybeFrank()
			case 1:
				m.Message, m.Tree = message("0001 0003"+welcome), g.tree()
			case 2:
				m.Message, m.MoreProposals = g.proposal(), list(g, 3, g.proposal)
			case 3:
				m.Message, m.ExternalProposals = g.message(commit), list(g, 3, g.proposal)
			case 4:
				m.Message = g.message(memberCmt)
			}
			f = append(f, m)
		}
		return f
	},
	"GroupInfoRequest": func(g gen) body {
		return &wire.GroupInfoRequest{Suite: g.suite(), SignatureKey: g.bytes(), Credential: g.credential(),
			GroupInfoKey: g.bytes(), JoiningCode: g.bytes(), Signature: g.bytes()}
	},
	"GroupInfoResponse": func(g gen) body {
		m := &wire.GroupInfoResponse{Room: g.uri(), Status: wire.GroupInfoCode(1 + g.n(2))}
		if m.Status == wire.GroupInfoSuccess {
			m.Success = &wire.GroupInfoSuccessPart{Suite: g.suite(), HubSender: mls.ExternalSender{SignatureKey: g.bytes(), Credential: g.credential()},
				Encrypted: mls.HPKECiphertext{KEMOutput: g.bytes(), Ciphertext: g.bytes()}, Signature: g.bytes()}
		}
		return m
	},
	"GroupInfoRatchetTreeTBE": func(g gen) body {
		return &wire.GroupInfoRatchetTreeTBE{GroupInfo: g.groupInfo(), Tree: *g.tree(),
			Pending: list(g, 3, func() wire.PendingProposal { return wire.PendingProposal{Proposal: g.proposal(), AcceptedAt: g.u64()} })}
	},
	"ConsentScope": func(g gen) body {
		return &wire.ConsentScope{Requester: g.uri(), Target: g.uri(), Room: g.room()}
	},
	"ConsentEntry": func(g gen) body {
		m := &wire.ConsentEntry{Operation: wire.ConsentOperation(g.n(3)), Extensions: g.dictionary(),
			Scope: wire.ConsentScope{Requester: g.uri(), Target: g.uri(), Room: g.room()}}
		if m.Operation == wire.ConsentGrant {
			m.KeyPackages = list(g, 3, g.keyPackage)
		}
		return m
	},
	"IdentifierRequest": func(g gen) body {
		m := &wire.IdentifierRequest{Extensions: g.dictionary()}
		for range 1 + g.n(3) {
			q := wire.QueryElement{Type: wire.SearchIdentifierType(1 + g.n(7)), Value: g.text()}
			if q.Type >= wire.SearchOIDCStdClaim {
				q.Field = g.name()
			}
			m.Elements = append(m.Elements, q)
		}
		return m
	},
	"IdentifierResponse": func(g gen) body {
		m := &wire.IdentifierResponse{Code: wire.IdentifierQueryCode(g.n(4)), Extensions: g.dictionary()}
		if m.Code == wire.QuerySuccess {
			m.URIs = append(list(g, 3, g.uri), "x")
			m.Profiles = list(g, 3, func() wire.UserProfile {
				return wire.UserProfile{StableURI: g.uri(), Fields: list(g, 3, func() wire.ProfileField {
					return wire.ProfileField{Source: wire.FieldSource(7 + g.n(1)), Name: g.name(), Value: g.bytes()}
				})}
			})
		}
		return m
	},
	"AbuseReport": func(g gen) body {
		return &wire.AbuseReport{Reporter: g.room(), Abuser: g.uri(), Note: g.text(), Extensions: g.dictionary(),
			Messages: list(g, 3, func() wire.AbusiveMessage {
				return wire.AbusiveMessage{Content: g.bytes(), Frank: g.frank(), AcceptedAt: g.u64()}
			})}
	},
	"ParticipantListData": func(g gen) body { return &wire.ParticipantListData{Participants: g.pairs()} },
	"ParticipantListUpdate": func(g gen) body {
		u := &wire.ParticipantListUpdate{Added: g.pairs()}
		for i := range uint32(g.n(20)) {
			switch g.n(2) {
			case 0:
				u.Changed = append(u.Changed, wire.UserIndexRolePair{Index: i, Role: g.u32()})
			case 1:
				u.Removed = append(u.Removed, i)
			}
		}
		return u
	},
	"Envelope": func(g gen) body {
		e := &wire.Envelope{Source: g.name(), Target: g.name(), Endpoint: "update", Room: g.room(), Time: g.u64(), BodyHash: g.array()}
		if g.yes() {
			e.Signature = bytes.Repeat([]byte{7}, 64)
		}
		return e
	},
}

// TestRoundTrip: what is written is read back, field by field and byte by byte.
func TestRoundTrip(t *testing.T) {
	for _, c := range codecs {
		t.Run(c.name, func(t *testing.T) {
			generate := generators[c.name]
			if generate == nil {
				t.Fatal("no generator")
			}
			rapid.Check(t, func(rt *rapid.T) {
				v := generate(gen{rt})
				b, err := v.Bytes()
				if err != nil {
					rt.Fatal(err)
				}
				got, err := c.parse(b, wire.Limits{})
				if err != nil {
					rt.Fatalf("%v\n%x", err, b)
				}
				if diff := same(v, got); diff != "" {
					rt.Fatalf("(-want +got):\n%s", diff)
				}
				again, err := got.Bytes()
				if err != nil || !bytes.Equal(again, b) {
					rt.Fatalf("wrote\n%x, then\n%x (%v)", b, again, err)
				}
			})
		})
	}
}
