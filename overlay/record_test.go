package overlay_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/record"
	"pgregory.net/rapid"

	"github.com/mimid/mimid/overlay"
)

func nodeID(k ed25519.PrivateKey) overlay.PeerID {
	p, err := crypto.UnmarshalEd25519PublicKey(pub(k))
	if err != nil {
		panic(err)
	}
	id, err := peer.IDFromPublicKey(p)
	if err != nil {
		panic(err)
	}
	return overlay.PeerID(id.String())
}

// sample is a record of biloxi.example that is good now.
func sample() *overlay.Record {
	rot, err := overlay.SignRotation("biloxi.example", key("old"), pub(key("provider")))
	if err != nil {
		panic(err)
	}
	return &overlay.Record{
		Domain:       "biloxi.example",
		ProviderKey:  pub(key("provider")),
		Rotations:    []overlay.Rotation{rot},
		Nodes:        []overlay.Node{{ID: nodeID(key("n1")), Addrs: []string{"/ip4/192.0.2.1/tcp/4001", "/dns/biloxi.example/udp/4001/quic-v1"}}, {ID: nodeID(key("n2"))}},
		DirectoryURL: "https://biloxi.example/.well-known/mimi",
		RelayWilling: true,
		Seq:          uint64(time.Now().UnixMilli()),
		Expires:      time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC(),
	}
}

func TestRecordRoundTrip(t *testing.T) {
	keys := []ed25519.PrivateKey{key("a"), key("b"), key("c"), key("d")}
	rapid.Check(t, func(t *rapid.T) {
		r := &overlay.Record{
			Domain:         rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10}){0,3}`).Draw(t, "domain"),
			ReplicaWilling: rapid.Bool().Draw(t, "replica"),
			RelayWilling:   rapid.Bool().Draw(t, "relay"),
			Seq:            rapid.Uint64().Draw(t, "seq"),
			Expires:        time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, "expires")).UTC(),
		}
		if rapid.Bool().Draw(t, "directory") {
			r.DirectoryURL = "https://" + r.Domain + rapid.StringMatching(`/[a-z]{0,30}`).Draw(t, "path")
		}
		for i := range rapid.IntRange(1, 16).Draw(t, "nodes") {
			n := overlay.Node{ID: nodeID(key(fmt.Sprint("node", i)))}
			for range rapid.IntRange(0, 4).Draw(t, "addrs") {
				n.Addrs = append(n.Addrs, fmt.Sprintf("/ip4/192.0.2.%d/tcp/%d", rapid.Byte().Draw(t, "host"), rapid.Uint16().Draw(t, "port")))
			}
			r.Nodes = append(r.Nodes, n)
		}
		rotated := rapid.IntRange(0, 3).Draw(t, "rotations")
		for i := range rotated {
			rot, err := overlay.SignRotation(r.Domain, keys[i], pub(keys[i+1]))
			if err != nil {
				t.Fatal(err)
			}
			r.Rotations = append(r.Rotations, rot)
		}
		r.ProviderKey = pub(keys[rotated])
		env, err := overlay.Seal(r, keys[rotated])
		if err != nil {
			t.Fatal(err)
		}
		got, err := overlay.Open(env)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	good, err := overlay.Payload(sample())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := overlay.Open(seal(t, key("provider"), "", "", good)); err != nil {
		t.Fatal(err)
	}
	edit := func(fn func(r *overlay.Record)) []byte {
		r := sample()
		fn(r)
		b, err := overlay.Payload(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	at := func(i int, b byte) []byte {
		out := bytes.Clone(good)
		out[i] = b
		return out
	}
	other, err := overlay.SignRotation("other.example", key("old"), pub(key("provider")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why string
		env []byte
	}{
		{"nothing", nil},
		{"not an envelope", []byte("hello, hello")},
		{"longer than a record", make([]byte, overlay.MaxRecord+1)},
		{"another version", seal(t, key("provider"), "", "", at(0, 2))},
		{"signed by another key than it names", seal(t, key("mallory"), "", "", good)},
		{"signed for another purpose", seal(t, key("provider"), "libp2p-peer-record", "", good)},
		{"another payload type", seal(t, key("provider"), "", "/libp2p/routing-record", good)},
		{"truncated", seal(t, key("provider"), "", "", good[:len(good)-1])},
		{"cut in a node", seal(t, key("provider"), "", "", good[:120])},
		{"empty", seal(t, key("provider"), "", "", []byte{})},
		{"more follows", seal(t, key("provider"), "", "", append(bytes.Clone(good), 0))},
		{"upper case", seal(t, key("provider"), "", "", at(2, 'B'))},
		{"empty domain", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.Domain = "" }))},
		{"a node's name as domain", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.Domain = "x.peer.invalid" }))},
		{"expiry beyond all times", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.Expires = time.UnixMilli(1 << 49) }))},
		{"no node", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.Nodes, r.DirectoryURL = nil, "" }))},
		{"a node twice", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.Nodes[1].ID = r.Nodes[0].ID }))},
		{"too many nodes", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) {
			for i := range 15 {
				r.Nodes = append(r.Nodes, overlay.Node{ID: nodeID(key(fmt.Sprint(i)))})
			}
		}))},
		{"too many addresses", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) {
			r.Nodes[0].Addrs = strings.Split(strings.Repeat(",/ip4/192.0.2.1/tcp/1", 17)[1:], ",")
		}))},
		{"directory is not https", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.DirectoryURL = "http://x/" }))},
		{"directory with a password", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.DirectoryURL = "https://a:b@x/" }))},
		{"directory too long", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.DirectoryURL = "https://x/" + strings.Repeat("x", 600) }))},
		{"rotation of another domain", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) { r.Rotations[0] = other }))},
		{"rotation with a bad signature", seal(t, key("provider"), "", "", at(len(good)-1, good[len(good)-1]^1))},
		{"rotation to itself", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) {
			r.Rotations[0], _ = overlay.SignRotation(r.Domain, key("provider"), pub(key("provider")))
		}))},
		{"too many rotations", seal(t, key("provider"), "", "", edit(func(r *overlay.Record) {
			r.Rotations = nil
			for i := range 9 {
				next := pub(key(fmt.Sprint("r", i+1)))
				if i == 8 {
					next = r.ProviderKey
				}
				rot, _ := overlay.SignRotation(r.Domain, key(fmt.Sprint("r", i)), next)
				r.Rotations = append(r.Rotations, rot)
			}
		}))},
	} {
		if r, err := overlay.Open(c.env); !errors.Is(err, overlay.ErrRecord) || r != nil {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	// Every single changed bit is noticed.
	env := seal(t, key("provider"), "", "", good)
	for i := range env {
		env[i] ^= 1 << (i % 8)
		if r, err := overlay.Open(env); err == nil {
			if diff := cmp.Diff(sample().Domain, r.Domain); diff != "" || !bytes.Equal(mustSeal(t, r), seal(t, key("provider"), "", "", good)) {
				t.Fatalf("byte %d changed and the record opens as another", i)
			}
		}
		env[i] ^= 1 << (i % 8)
	}
}

func mustSeal(t testing.TB, r *overlay.Record) []byte {
	t.Helper()
	b, err := overlay.Seal(r, key("provider"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// seal makes an envelope as libp2p does, right or wrong.
func seal(t testing.TB, k ed25519.PrivateKey, domain, codec string, payload []byte) []byte {
	t.Helper()
	if domain == "" {
		domain = "mimid-provider-record-v1"
	}
	if codec == "" {
		codec = "/mimid/provider-record"
	}
	priv, err := crypto.UnmarshalEd25519PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	env, err := record.Seal(&rawRecord{domain, codec, payload}, priv)
	if err != nil {
		t.Fatal(err)
	}
	b, err := env.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type rawRecord struct {
	domain, codec string
	payload       []byte
}

func (r *rawRecord) Domain() string                 { return r.domain }
func (r *rawRecord) Codec() []byte                  { return []byte(r.codec) }
func (r *rawRecord) MarshalRecord() ([]byte, error) { return r.payload, nil }
func (r *rawRecord) UnmarshalRecord([]byte) error   { return nil }

// The layout in record.go, byte by byte.
func TestRecordLayout(t *testing.T) {
	r := sample()
	r.Nodes = r.Nodes[1:]
	got, err := overlay.Payload(r)
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte{1, 14}, "biloxi.example"...)
	want = append(want, r.ProviderKey...)
	want = binary.BigEndian.AppendUint64(want, r.Seq)
	want = binary.BigEndian.AppendUint64(want, uint64(r.Expires.UnixMilli()))
	want = append(want, 2, 0, 39)
	want = append(want, "https://biloxi.example/.well-known/mimi"...)
	id, _ := peer.Decode(string(r.Nodes[0].ID))
	want = append(want, 1, 38)
	want = append(want, id...)
	want = append(want, 0, 1)
	want = append(want, r.Rotations[0].Old...)
	want = append(want, r.Rotations[0].Signature...)
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

// What the DHT stores and prefers.
func TestValidator(t *testing.T) {
	o, err := overlay.New(config("hub.example"))
	if err != nil {
		t.Fatal(err)
	}
	v := overlay.Validator(o)
	at := overlay.RecordKey("biloxi.example")
	env := func(fn func(r *overlay.Record)) []byte {
		r := sample()
		fn(r)
		return mustSeal(t, r)
	}
	now := time.Now()
	for _, c := range []struct {
		why string
		key string
		env []byte
		ok  bool
	}{
		{"good", at, env(func(*overlay.Record) {}), true},
		{"under another key", overlay.RecordKey("other.example"), env(func(*overlay.Record) {}), false},
		{"under the domain and its key", overlay.KeyedRecordKey("biloxi.example", overlay.Fingerprint(pub(key("provider")))), env(func(*overlay.Record) {}), true},
		{"under the domain and an old key", overlay.KeyedRecordKey("biloxi.example", overlay.Fingerprint(pub(key("old")))), env(func(*overlay.Record) {}), true},
		{"under the domain and a key of another", overlay.KeyedRecordKey("biloxi.example", overlay.Fingerprint(pub(key("mallory")))), env(func(*overlay.Record) {}), false},
		{"under no key", "/mimi-provider/", env(func(*overlay.Record) {}), false},
		{"expired", at, env(func(r *overlay.Record) { r.Expires = now.Add(-time.Second) }), false},
		{"valid for 48 hours", at, env(func(r *overlay.Record) { r.Expires = now.Add(48 * time.Hour) }), true},
		{"valid for too long", at, env(func(r *overlay.Record) { r.Expires = now.Add(49 * time.Hour) }), false},
		{"a sequence number for good", at, env(func(r *overlay.Record) { r.Seq = 1<<64 - 1 }), false},
		{"a clock some minutes ahead", at, env(func(r *overlay.Record) { r.Seq = uint64(now.Add(9 * time.Minute).UnixMilli()) }), true},
		{"not a record", at, []byte("x"), false},
	} {
		if err := v.Validate(c.key, c.env); (err == nil) != c.ok || err != nil && !errors.Is(err, overlay.ErrRecord) {
			t.Errorf("%s: %v", c.why, err)
		}
	}
	older := env(func(r *overlay.Record) { r.Seq = 5 })
	newer := env(func(r *overlay.Record) { r.Seq = 6 })
	same := env(func(r *overlay.Record) { r.Seq = 6; r.RelayWilling = false })
	for _, c := range []struct {
		values [][]byte
		want   int
	}{
		{[][]byte{older, newer}, 1}, {[][]byte{newer, older}, 0}, {[][]byte{[]byte("x"), older}, 1}, {[][]byte{newer, newer}, 0},
	} {
		if got, err := v.Select(at, c.values); err != nil || got != c.want {
			t.Errorf("Select: %d %v, want %d", got, err, c.want)
		}
	}
	first, _ := v.Select(at, [][]byte{newer, same})
	second, _ := v.Select(at, [][]byte{same, newer})
	if first == second {
		t.Error("nodes do not agree which of two equally new records is better")
	}
	// A key and its successor, whatever the sequence numbers; and a stranger, who does
	// not replace what is stored, which comes last.
	before := sample()
	before.ProviderKey, before.Rotations, before.Seq = pub(key("old")), nil, 7
	predecessor, err := overlay.Seal(before, key("old"))
	if err != nil {
		t.Fatal(err)
	}
	before.ProviderKey, before.Seq = pub(key("mallory")), 8
	stranger, err := overlay.Seal(before, key("mallory"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		why    string
		values [][]byte
		want   int
	}{
		{"successor comes", [][]byte{newer, predecessor}, 0},
		{"predecessor comes", [][]byte{predecessor, newer}, 1},
		{"stranger comes", [][]byte{stranger, newer}, 1},
		{"stranger was there", [][]byte{newer, stranger}, 1},
	} {
		if got, err := v.Select(at, c.values); err != nil || got != c.want {
			t.Errorf("%s: Select %d %v, want %d", c.why, got, err, c.want)
		}
	}
	o.Pin(t.Context(), "biloxi.example", overlay.Fingerprint(pub(key("provider"))))
	if got, err := v.Select(at, [][]byte{newer, stranger}); err != nil || got != 0 {
		t.Errorf("a stranger was there, and the operator pinned the other: Select %d %v", got, err)
	}
	if _, err := v.Select(at, [][]byte{nil, []byte("x")}); err == nil {
		t.Error("Select of nothing")
	}
}

func TestCanonical(t *testing.T) {
	for name, want := range map[string]string{
		"Biloxi.Example.": "biloxi.example", "localhost": "localhost", "a-b.c": "a-b.c", "1.2": "1.2",
		"": "", ".": "", "a..b": "", "-a.b": "", "a-.b": "", "a_b": "", "ü.example": "", "a b": "", "a/b": "", "a:1": "",
		strings.Repeat("a", 64): "", strings.Repeat("a.", 126) + "a": strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a": "",
		"x.peer.invalid": "", "x.p2p.invalid": "", strings.Repeat("x", 10000): "",
	} {
		got, err := overlay.Canonical(name)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, overlay.ErrName) {
			t.Errorf("%.40q: %q %v", name, got, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	payload, err := overlay.Payload(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seal(f, key("provider"), "", "", payload), true)
	f.Add(payload, false)
	f.Fuzz(func(t *testing.T, b []byte, envelope bool) {
		if envelope {
			if r, err := overlay.Open(b); err == nil && r.Domain == "" {
				t.Fatal("a record without a name")
			}
			return
		}
		r, err := overlay.ParsePayload(b)
		if err != nil {
			return
		}
		again, err := overlay.Payload(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := overlay.ParsePayload(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, r2); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzStored(f *testing.F) {
	r := sample()
	stored, err := overlay.StoredEntry(r, mustSeal(f, r))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := overlay.StoredAgain(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Fatalf("read %x, would write %x", b, again)
		}
	})
}

// A provider that is reached by HTTPS only has a record that names no node.
func TestRecordWithoutNodes(t *testing.T) {
	r := sample()
	r.Nodes, r.DirectoryURL = nil, "https://biloxi.example/.well-known/mimi-protocol-directory"
	env, err := overlay.Seal(r, key("provider"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := overlay.Open(env); err != nil || len(got.Nodes) != 0 || got.DirectoryURL != r.DirectoryURL {
		t.Errorf("%+v, %v", got, err)
	}
}
