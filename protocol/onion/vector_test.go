package onion

// This file is in the package, since it runs the core with parameters that the package does not
// offer to anybody.

import (
	"bytes"
	"crypto/ecdh"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"gitlab.com/yawning/aez.git"
	"golang.org/x/crypto/chacha20"
)

// katzenpost are the parameters of the published packets: X25519 with blinding instead of a KEM, as
// in the paper of Danezis and Goldberg, longer MACs, other commands, and AEZ for the body.
func katzenpost() params {
	return params{
		prefix: 2, share: 32, slot: 82, slots: 5, mac: 32,
		body:  32 + 103,
		label: "katzenpost-kdf-v0-hkdf-sha256", bodyKey: 48, lastKey: 32,
		wide: func(k *hopKeys, body []byte, encrypt bool) {
			if encrypt {
				copy(body, aez.Encrypt(k.body, k.iv, nil, 0, body, nil))
				return
			}
			out, ok := aez.Decrypt(k.body, k.iv, nil, 0, body, nil)
			if !ok {
				panic("AEZ without a tag always decrypts")
			}
			copy(body, out)
		},
		follow: func(slot, share []byte, k *hopKeys) (nextShare, nextMAC []byte, err error) {
			cmds, err := katzenpostCommands(slot)
			if err != nil {
				return nil, nil, err
			}
			for _, c := range cmds {
				if c[0] == 1 {
					return blinded(share, k.last), c[33:], nil
				}
			}
			return nil, nil, nil
		},
	}
}

// katzenpostCommands cuts a slot: next node and MAC, recipient, reply, delay, and zeros to its end.
func katzenpostCommands(slot []byte) (out [][]byte, err error) {
	size := map[byte]int{1: 1 + 32 + 32, 2: 1 + 32, 3: 1 + 16, 0x80: 1 + 4}
	for len(slot) > 0 && slot[0] != 0 {
		n := size[slot[0]]
		if n == 0 || n > len(slot) {
			return nil, fmt.Errorf("command %d", slot[0])
		}
		out, slot = append(out, slot[:n]), slot[n:]
	}
	if len(bytes.Trim(slot, "\x00")) != 0 {
		return nil, errors.New("commands after the end")
	}
	return out, nil
}

func blinded(share, seed []byte) []byte {
	c, err := chacha20.NewUnauthenticatedCipher(seed, make([]byte, chacha20.NonceSize))
	if err != nil {
		panic(err)
	}
	factor := make([]byte, 32)
	c.XORKeyStream(factor, factor)
	return x25519(factor, share)
}

func x25519(secret, public []byte) []byte {
	s, err := ecdh.X25519().NewPrivateKey(secret)
	if err != nil {
		panic(err)
	}
	p, err := ecdh.X25519().NewPublicKey(public)
	if err != nil {
		panic(err)
	}
	out, err := s.ECDH(p)
	if err != nil {
		panic(err)
	}
	return out
}

type hexed []byte

func (h *hexed) UnmarshalText(b []byte) (err error) {
	*h, err = hex.DecodeString(string(b))
	return err
}

type sphinxCase struct {
	Nodes []struct{ ID, PrivateKey hexed }
	Path  []struct {
		ID, PublicKey hexed
		Commands      []hexed
	}
	Packets        []hexed
	Payload        hexed
	Surb, SurbKeys hexed
}

func readVectors(t *testing.T) []sphinxCase {
	t.Helper()
	dir := os.Getenv("MIMID_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			t.Skip("no test vectors here: set MIMID_VECTORS to the directory that holds sphinx")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "sphinx", "sphinx_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []sphinxCase
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestVectorSphinx unwraps each published packet at each of its hops: what goes to the next hop is
// the next published packet, the commands are those of the path, and the payload comes out, at the
// exit or at the owner of the reply block.
func TestVectorSphinx(t *testing.T) {
	p, hops, replies := katzenpost(), 0, 0
	for n, c := range readVectors(t) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var body []byte
			for i, node := range c.Nodes {
				packet := []byte(c.Packets[i])
				if len(packet) != p.packet() {
					t.Fatalf("a packet of %d octets, not %d", len(packet), p.packet())
				}
				k := p.keys(x25519(node.PrivateKey, packet[p.prefix:p.prefix+p.share]))
				slot, next, b, err := p.unwrap(packet, &k)
				if err != nil {
					t.Fatalf("hop %d: %v", i, err)
				}
				checkCommands(t, c, i, slot)
				if last := i == len(c.Nodes)-1; last != (next == nil) {
					t.Fatalf("hop %d of %d: is there a next packet? %v", i, len(c.Nodes), next != nil)
				} else if !last && !bytes.Equal(next, c.Packets[i+1]) {
					t.Fatalf("hop %d: the next packet is\n%x\nnot\n%x", i, next, []byte(c.Packets[i+1]))
				}
				body = b
				hops++
			}
			if len(c.Surb) != 0 {
				replies++
				body = katzenpostReply(p, c.SurbKeys, body)
			}
			if !bytes.Equal(body[:32], make([]byte, 32)) || !bytes.Equal(body[32:], c.Payload) {
				t.Errorf("the payload is %x, not %x", body, []byte(c.Payload))
			}
		})
	}
	if hops != 30 || replies != 5 {
		t.Errorf("%d hops and %d replies, where the file has 30 and 5", hops, replies)
	}
}

func checkCommands(t *testing.T, c sphinxCase, i int, slot []byte) {
	t.Helper()
	cmds, err := katzenpostCommands(slot)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []byte
	for _, cmd := range cmds {
		if cmd[0] == 1 {
			got = append(got, cmd[1:33]...)
			continue
		}
		got = append(got, cmd...)
	}
	for _, cmd := range c.Path[i].Commands {
		want = append(want, cmd...)
	}
	if i < len(c.Path)-1 {
		want = append(want, c.Path[i+1].ID...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("hop %d: commands %x, not %x", i, got, want)
	}
}

// katzenpostReply reads a reply, with keys of 48 octets and a nonce of 16 each, the last hop's
// first and that of the reply block at the end.
func katzenpostReply(p params, keys, body []byte) []byte {
	body = bytes.Clone(body)
	for len(keys) > 0 {
		k := hopKeys{body: keys[:48], iv: keys[48:64]}
		keys = keys[64:]
		p.wide(&k, body, len(keys) > 0)
	}
	return body
}

// TestVectorSphinxChanged: of each published packet no bit of the header can be changed.
func TestVectorSphinxChanged(t *testing.T) {
	p := katzenpost()
	c := readVectors(t)[4]
	packet := bytes.Clone(c.Packets[0])
	k := p.keys(x25519(c.Nodes[0].PrivateKey, packet[p.prefix:p.prefix+p.share]))
	for bit := range p.header() * 8 {
		packet[bit/8] ^= 1 << (bit % 8)
		// With the keys of the unchanged share, so that the MAC alone has to find it.
		if _, err := p.open(packet, &k); !errors.Is(err, ErrBadMAC) {
			t.Errorf("bit %d of the header changed: %v", bit, err)
		}
		packet[bit/8] ^= 1 << (bit % 8)
	}
}

// TestVectorSphinxBuilt: what this package's sender builds with the parameters of the published
// packets is unwrapped by what TestVectorSphinx has checked. The file has no ephemeral keys, so
// that its packets themselves cannot be built again.
func TestVectorSphinxBuilt(t *testing.T) {
	p := katzenpost()
	for _, c := range readVectors(t) {
		payload := append(make([]byte, 32), c.Payload...)
		ephemeral := bytes.Repeat([]byte{7}, 32)
		share := x25519(ephemeral, append([]byte{9}, make([]byte, 31)...))
		var factors, hops = [][]byte{ephemeral}, make([]sealHop, len(c.Path))
		for i, n := range c.Path {
			secret := n.PublicKey
			for _, f := range factors {
				secret = x25519(f, secret)
			}
			k := p.keys(secret)
			hops[i] = sealHop{share: share, keys: k, commands: func(slot, _, mac []byte) {
				for _, cmd := range c.Path[i].Commands {
					copy(slot, cmd)
					slot = slot[len(cmd):]
				}
				if mac != nil {
					slot[0] = 1
					copy(slot[1:], c.Path[i+1].ID)
					copy(slot[33:], mac)
				}
			}}
			share = blinded(share, k.last)
			ch, _ := chacha20.NewUnauthenticatedCipher(k.last, make([]byte, chacha20.NonceSize))
			factor := make([]byte, 32)
			ch.XORKeyStream(factor, factor)
			factors = append(factors, factor)
		}
		packet := append(p.seal([]byte{0, 0}, hops), payload...)
		for i := len(hops) - 1; i >= 0; i-- {
			p.wide(&hops[i].keys, packet[p.header():], true)
		}
		for i, node := range c.Nodes {
			k := p.keys(x25519(node.PrivateKey, packet[p.prefix:p.prefix+p.share]))
			slot, next, body, err := p.unwrap(packet, &k)
			if err != nil {
				t.Fatalf("hop %d of %d: %v", i, len(c.Nodes), err)
			}
			checkCommands(t, c, i, slot)
			if packet = next; next == nil && !bytes.Equal(body, payload) {
				t.Fatalf("the payload is %x", body)
			}
		}
	}
}
