package onion_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mimid/mimid/protocol/onion"
)

var rewrite = flag.Bool("rewrite", false, "make the known answers of this package anew, which is right only if the format has another version")

type octets []byte

func (o octets) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(o)), nil }

func (o *octets) UnmarshalText(b []byte) (err error) {
	*o, err = hex.DecodeString(string(b))
	return err
}

// known is a packet and a reply along the same three nodes. What is random in them is kept whole;
// of what follows from it, at each hop, there is the hash.
type known struct {
	Keys      []octets // private keys
	Packet    octets   // as the first node gets it
	SURB      octets
	ReplyKeys octets
	Seen      []string // one line for each hop of the packet, then of the reply
}

func (k known) run(t *testing.T, f onion.Format) (seen []string) {
	t.Helper()
	var nodes []node
	for i, b := range k.Keys {
		key := must[onion.PrivateKey](t)(onion.ParsePrivateKey(f.Suite, b))
		n := node{id: onion.NodeID{byte(i + 1), 9}, key: key, ring: &onion.Keyring{}}
		if err := n.ring.Put(epoch, key); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	follow := func(packet []byte) (hop onion.Hop) {
		for _, n := range nodes {
			hop = must[onion.Hop](t)(f.Unwrap(n.ring, packet))
			seen = append(seen, fmt.Sprintf("%v tag %x next %x after %v packet %x mailbox %x body %x", hop.Kind, hop.Tag, hop.Next[:2], hop.Delay,
				sha256.Sum256(hop.Packet), hop.Mailbox[:2], sha256.Sum256(hop.Body)))
			packet = hop.Packet
		}
		return hop
	}
	if hop := follow(k.Packet); string(hop.Body) != "a known payload" {
		t.Errorf("the payload is %q", hop.Body)
	}
	first, reply, err := must[onion.SURB](t)(f.ParseSURB(k.SURB)).Reply([]byte("a known reply"))
	if err != nil || first != nodes[0].id {
		t.Fatal(first, err)
	}
	seen = append(seen, fmt.Sprintf("reply %x", sha256.Sum256(reply)))
	keys := must[onion.ReplyKeys](t)(onion.ParseReplyKeys(k.ReplyKeys))
	if got, err := keys.Open(f, follow(reply).Body); err != nil || !bytes.Equal(got, []byte("a known reply")) {
		t.Errorf("the reply is %q, %v", got, err)
	}
	return seen
}

// TestKnownAnswers: packets that were made when the format was decided are unwrapped today as they
// were then, hop by hop. Others have no vectors for these parameters.
func TestKnownAnswers(t *testing.T) {
	for _, s := range []onion.Suite{onion.X25519, onion.XWing} {
		f := onion.Format{Suite: s, Class: onion.Class2K}
		file := filepath.Join("testdata", "known_"+s.String()+".json")
		if *rewrite {
			makeKnown(t, f, file)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var k known
		if err := json.Unmarshal(b, &k); err != nil {
			t.Fatal(err)
		}
		if len(k.Keys) != 3 || len(k.Seen) != 7 {
			t.Fatalf("%s has %d keys and %d lines", file, len(k.Keys), len(k.Seen))
		}
		for i, line := range k.run(t, f) {
			if line != k.Seen[i] {
				t.Errorf("%v, line %d:\n%s\nnot\n%s", s, i, line, k.Seen[i])
			}
		}
	}
}

func makeKnown(t *testing.T, f onion.Format, file string) {
	t.Helper()
	nodes := newNodes(t, f.Suite, 3)
	s, keys, err := f.NewSURB(epoch, path(nodes), onion.Mailbox{3, 1})
	if err != nil {
		t.Fatal(err)
	}
	k := known{SURB: s.Bytes(), ReplyKeys: keys.Bytes(),
		Packet: must[[]byte](t)(f.Build(epoch, path(nodes), onion.Mailbox{3, 2}, []byte("a known payload")))}
	for _, n := range nodes {
		k.Keys = append(k.Keys, must[[]byte](t)(n.key.Bytes()))
	}
	k.Seen = k.run(t, f)
	b, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
