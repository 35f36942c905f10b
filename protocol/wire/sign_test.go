package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/wire"
)

var now = time.UnixMilli(1_800_000_000_000)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func signatureKey(t *testing.T, s mls.CipherSuite) mls.SignatureKey {
	t.Helper()
	k, err := mls.GenerateSignatureKey(s)
	must(t, err)
	return k
}

// TestKeyMaterialSignature: section 5.2. The content is the request without
// the signature; each field is covered.
func TestKeyMaterialSignature(t *testing.T) {
	for _, suite := range []mls.CipherSuite{1, 2, 3} {
		key := signatureKey(t, suite)
		fresh := func() *wire.KeyMaterialRequest {
			m := &wire.KeyMaterialRequest{RequestingUser: "u", TargetUser: "t", Suites: []mls.CipherSuite{0x0a0a, 1, 2, 3, suite}, Credential: cred}
			must(t, m.Sign(key))
			return m
		}
		m := fresh()
		v, err := m.Verify(mls.AcceptBasic{}, now)
		must(t, err)
		if v.Request() != m {
			t.Error("another request")
		}
		b, err := m.Bytes()
		must(t, err)
		must(t, suite.Verify(key.Public(), "KeyMaterialRequestTBS", b[:len(b)-len(m.Signature)-lengthSize(len(m.Signature))], m.Signature))
		for why, change := range map[string]func(*wire.KeyMaterialRequest){
			"requester":  func(m *wire.KeyMaterialRequest) { m.RequestingUser = "x" },
			"target":     func(m *wire.KeyMaterialRequest) { m.TargetUser = "x" },
			"room":       func(m *wire.KeyMaterialRequest) { m.Room = "x" },
			"suites":     func(m *wire.KeyMaterialRequest) { m.Suites = m.Suites[1:] },
			"required":   func(m *wire.KeyMaterialRequest) { m.Required.Proposals = []mls.ProposalType{8} },
			"key":        func(m *wire.KeyMaterialRequest) { m.SignatureKey = signatureKey(t, suite).Public() },
			"credential": func(m *wire.KeyMaterialRequest) { m.Credential = mls.BasicCredential([]byte("x")) },
			"signature":  func(m *wire.KeyMaterialRequest) { m.Signature = nil },
		} {
			m := fresh()
			if change(m); !refused(m.Verify(mls.AcceptBasic{}, now)) {
				t.Errorf("%v: another %s", suite, why)
			}
		}
	}
	m := &wire.KeyMaterialRequest{RequestingUser: "u", TargetUser: "t", Suites: []mls.CipherSuite{0x0a0a}, Credential: cred}
	must(t, m.Sign(signatureKey(t, 1)))
	if _, err := m.Verify(mls.AcceptBasic{}, now); !errors.Is(err, wire.ErrUnsupported) {
		t.Errorf("no suite of ours: %v", err)
	}
	m.Suites, m.Credential = []mls.CipherSuite{1}, mls.X509Credential([]byte("c"))
	must(t, m.Sign(signatureKey(t, 1)))
	if _, err := m.Verify(mls.AcceptBasic{}, now); !errors.Is(err, mls.ErrBadCredential) {
		t.Errorf("credential refused: %v", err)
	}
}

func refused[T any](_ T, err error) bool { return errors.Is(err, wire.ErrBadSignature) }

func lengthSize(n int) int {
	if n < 64 {
		return 1
	}
	return 2
}

// TestGroupInfoSignatures: section 5.6. In the TBS the joining code is
// optional, in the request it is not.
func TestGroupInfoSignatures(t *testing.T) {
	key := signatureKey(t, 1)
	for code, tail := range map[string]string{"": "00", "jc": "01 02 6a63"} {
		m := &wire.GroupInfoRequest{Suite: 1, Credential: cred, GroupInfoKey: []byte{0x50}, JoiningCode: []byte(code)}
		must(t, m.Sign(key))
		tbs := append(unhex(`01 0001 20`), key.Public()...)
		tbs = append(tbs, unhex(credHex+`01 50`+tail)...)
		must(t, mls.CipherSuite(1).Verify(key.Public(), "GroupInfoRequestTBS", tbs, m.Signature))
		v, err := m.Verify(mls.AcceptBasic{}, now)
		must(t, err)
		if v.Request() != m {
			t.Error("another request")
		}
		m.JoiningCode = []byte("other")
		if !refused(m.Verify(mls.AcceptBasic{}, now)) {
			t.Error("another code")
		}
	}

	fresh := func() *wire.GroupInfoResponse {
		m := &wire.GroupInfoResponse{Room: "r", Status: wire.GroupInfoSuccess, Success: &wire.GroupInfoSuccessPart{
			Suite: 1, HubSender: mls.ExternalSender{Credential: cred}, Encrypted: mls.HPKECiphertext{KEMOutput: []byte{1}, Ciphertext: []byte{2}}}}
		must(t, m.Sign(key))
		return m
	}
	m := fresh()
	_, err := m.Verify("r", 1, mls.AcceptBasic{}, now)
	must(t, err)
	b, err := m.Bytes()
	must(t, err)
	must(t, mls.CipherSuite(1).Verify(key.Public(), "GroupInfoResponseTBS", b[:len(b)-66], m.Success.Signature))
	if _, err := m.Verify("q", 1, mls.AcceptBasic{}, now); !errors.Is(err, wire.ErrWrongTarget) {
		t.Errorf("another room: %v", err)
	}
	if _, err := m.Verify("r", 3, mls.AcceptBasic{}, now); !errors.Is(err, wire.ErrWrongTarget) {
		t.Errorf("another suite: %v", err)
	}
	for why, change := range map[string]func(*wire.GroupInfoResponse){
		"ciphertext": func(m *wire.GroupInfoResponse) { m.Success.Encrypted.Ciphertext = []byte{3} },
		"credential": func(m *wire.GroupInfoResponse) { m.Success.HubSender.Credential = mls.BasicCredential([]byte("x")) },
		"key":        func(m *wire.GroupInfoResponse) { m.Success.HubSender.SignatureKey = signatureKey(t, 1).Public() },
		"room":       func(m *wire.GroupInfoResponse) { m.Room = "q" },
	} {
		m := fresh()
		if change(m); !refused(m.Verify(m.Room, 1, mls.AcceptBasic{}, now)) {
			t.Errorf("another %s", why)
		}
	}
	no := &wire.GroupInfoResponse{Room: "r", Status: wire.GroupInfoNoSuchRoom}
	if _, err := no.Verify("r", 1, mls.AcceptBasic{}, now); !errors.Is(err, wire.ErrCombination) {
		t.Errorf("failure verified: %v", err)
	}
	if err := no.Sign(key); !errors.Is(err, wire.ErrCombination) {
		t.Errorf("failure signed: %v", err)
	}
}

// TestFrank: section 5.4.1, with FrankingIntegrityTBS written out.
func TestFrank(t *testing.T) {
	key, hub := signatureKey(t, 1), []byte("hub")
	tag := wire.NewFrankAAD([]byte("salt"), []byte("data"))
	ctx := &wire.ServerFrankingContext{Sender: "u", Room: "r", AcceptedAt: 0x102}
	f, err := wire.NewFrank(hub, tag, ctx, wire.Blind{}, 1, key)
	must(t, err)
	must(t, f.Verify(key.Public(), ctx, wire.Blind{}))
	must(t, f.VerifyServerFrank(hub, tag, ctx))
	tbs := append(bytes.Clone(f.ServerFrank[:]), unhex(`0001 01 75 01 72 0000000000000102`)...)
	must(t, mls.CipherSuite(1).Verify(key.Public(), "FrankingIntegrityTBS", tbs, f.Signature))
	for _, c := range []wire.ServerFrankingContext{{"x", "r", 0x102}, {"u", "x", 0x102}, {"u", "r", 0x103}} {
		if err := f.Verify(key.Public(), &c, wire.Blind{}); !errors.Is(err, wire.ErrBadSignature) {
			t.Errorf("signature over %v: %v", c, err)
		}
		if err := f.VerifyServerFrank(hub, tag, &c); !errors.Is(err, wire.ErrBadFrank) {
			t.Errorf("frank over %v: %v", c, err)
		}
	}
	if err := f.VerifyServerFrank([]byte("other"), tag, ctx); !errors.Is(err, wire.ErrBadFrank) {
		t.Errorf("frank of another hub: %v", err)
	}
}

// TestEnvelope changes one thing at a time.
func TestEnvelope(t *testing.T) {
	pub, priv, err := ed25519.GenerateKey(nil)
	must(t, err)
	other, _, err := ed25519.GenerateKey(nil)
	must(t, err)
	content := []byte("body")
	const minute = time.Minute
	for _, c := range []struct {
		why    string
		change func(*wire.Envelope, *wire.Expected)
		want   error
	}{
		{"as made", func(*wire.Envelope, *wire.Expected) {}, nil},
		{"unsigned over a proving channel", func(e *wire.Envelope, x *wire.Expected) { e.Signature, x.ChannelProves, x.Key = nil, true, nil }, nil},
		{"oldest", func(_ *wire.Envelope, x *wire.Expected) { x.Now = now.Add(x.Past) }, nil},
		{"newest", func(_ *wire.Envelope, x *wire.Expected) { x.Now = now.Add(-x.Future) }, nil},
		{"too old", func(_ *wire.Envelope, x *wire.Expected) { x.Now = now.Add(x.Past + 1) }, wire.ErrTime},
		{"too new", func(_ *wire.Envelope, x *wire.Expected) { x.Now = now.Add(-x.Future - 1) }, wire.ErrTime},
		{"time beyond all", func(e *wire.Envelope, _ *wire.Expected) { e.Time = 1<<64 - 1 }, wire.ErrTime},
		{"unsigned", func(e *wire.Envelope, _ *wire.Expected) { e.Signature = nil }, wire.ErrUnsigned},
		{"source", func(_ *wire.Envelope, x *wire.Expected) { x.Source = "c" }, wire.ErrWrongSource},
		{"target", func(_ *wire.Envelope, x *wire.Expected) { x.Target = "c" }, wire.ErrWrongTarget},
		{"endpoint", func(_ *wire.Envelope, x *wire.Expected) { x.Endpoint = "notify" }, wire.ErrWrongTarget},
		{"room", func(_ *wire.Envelope, x *wire.Expected) { x.Room = "q" }, wire.ErrWrongTarget},
		{"no room", func(_ *wire.Envelope, x *wire.Expected) { x.Room = "" }, wire.ErrWrongTarget},
		{"body", func(_ *wire.Envelope, x *wire.Expected) { x.Body = []byte("Body") }, wire.ErrWrongBody},
		{"key", func(_ *wire.Envelope, x *wire.Expected) { x.Key = other }, wire.ErrBadSignature},
		{"no key", func(_ *wire.Envelope, x *wire.Expected) { x.Key = nil }, wire.ErrBadSignature},
		{"bad signature over a proving channel", func(e *wire.Envelope, x *wire.Expected) { e.Signature[5] ^= 1; x.ChannelProves = true }, wire.ErrBadSignature},
		{"signed for another source", func(e *wire.Envelope, x *wire.Expected) { e.Source, x.Source = "c", "c" }, wire.ErrBadSignature},
		{"signed for another target", func(e *wire.Envelope, x *wire.Expected) { e.Target, x.Target = "c", "c" }, wire.ErrBadSignature},
		{"signed for another endpoint", func(e *wire.Envelope, x *wire.Expected) { e.Endpoint, x.Endpoint = "c", "c" }, wire.ErrBadSignature},
		{"signed for another room", func(e *wire.Envelope, x *wire.Expected) { e.Room, x.Room = "", "" }, wire.ErrBadSignature},
		{"another request id", func(e *wire.Envelope, _ *wire.Expected) { e.RequestID[0]++ }, wire.ErrBadSignature},
		{"another time", func(e *wire.Envelope, _ *wire.Expected) { e.Time++ }, wire.ErrBadSignature},
		{"another body", func(e *wire.Envelope, x *wire.Expected) { x.Body = []byte("x"); e.SetBody(x.Body) }, wire.ErrBadSignature},
	} {
		e := &wire.Envelope{Source: "a", Target: "b", Endpoint: "update", Room: "r", Time: uint64(now.UnixMilli())}
		e.SetBody(content)
		must(t, e.Sign(priv))
		x := wire.Expected{Source: "a", Key: pub, Target: "b", Endpoint: "update", Room: "r", Body: content, Now: now, Past: 5 * minute, Future: minute}
		c.change(e, &x)
		if v, err := e.Verify(x); !errors.Is(err, c.want) || (err == nil) != (v != nil) {
			t.Errorf("%s: %v, want %v", c.why, err, c.want)
		}
	}
	e := &wire.Envelope{Source: "a", Target: "b", Endpoint: "update"}
	e.SetBody(content)
	if e.BodyHash != sha256.Sum256(content) {
		t.Error("body hash")
	}
	must(t, e.Sign(priv))
	b, err := e.Bytes()
	must(t, err)
	if !ed25519.Verify(pub, append([]byte("mimid provider request envelope 1\x00"), b[:len(b)-66]...), e.Signature) {
		t.Error("the signature is not over the context and all fields")
	}
	if err := e.Sign(nil); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("signing without a key: %v", err)
	}
}

// TestDirectoryVector: the draft's example lacks a colon and is refused; with
// it, it is read.
func TestDirectoryVector(t *testing.T) {
	dir, set := os.LookupEnv("MIMID_VECTORS")
	if !set || dir == "" {
		set, dir = false, filepath.Join("..", "..", "..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "mimi-protocol", "directory-example.txt"))
	if err != nil && !set {
		t.Skip("no test vectors here: set MIMID_VECTORS to the directory that holds mimi-protocol/directory-example.txt")
	}
	must(t, err)
	from, to := bytes.IndexByte(b, '{'), bytes.LastIndexByte(b, '}')
	if from < 0 || to < from {
		t.Fatal("no object in the example")
	}
	example := string(b[from : to+1])
	if _, err := wire.ParseDirectory([]byte(example), wire.Limits{}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("example without a colon: %v", err)
	}
	repaired := strings.Replace(example, `"proxyDownload"`, `"proxyDownload":`, 1)
	d, err := wire.ParseDirectory([]byte(repaired), wire.Limits{})
	must(t, err)
	for e := wire.EndpointKeyMaterial; e <= wire.EndpointProxyDownload; e++ {
		if !strings.Contains(repaired, `"`+d.Template(e)+`"`) || d.Template(e) == "" {
			t.Errorf("%v: %q", e, d.Template(e))
		}
	}
	// The example's update template has no slash; the others are ours.
	ours, err := wire.NewDirectory("https://mimi.example.com/v1")
	must(t, err)
	ob, err := ours.Bytes()
	must(t, err)
	db, err := d.Bytes()
	must(t, err)
	if got := strings.Replace(string(db), "v1/update{", "v1/update/{", 1); got != string(ob) {
		t.Errorf("%s\nwant\n%s", got, ob)
	}
}

func TestDirectory(t *testing.T) {
	d, err := wire.ParseDirectory([]byte(`{"update":"https://a.example/u/{roomId}","requestConsent":"https://a.example/{targetDomain}/c"}`), wire.Limits{})
	must(t, err)
	if got := d.URL(wire.EndpointUpdate, "mimi://a/r/ü ~"); got != "https://a.example/u/mimi%3A%2F%2Fa%2Fr%2F%C3%BC%20~" {
		t.Error(got)
	}
	if got := d.URL(wire.EndpointRequestConsent, "b.example"); got != "https://a.example/b.example/c" || d.Variable(wire.EndpointRequestConsent) != "targetDomain" {
		t.Error(got)
	}
	if d.URL(wire.EndpointNotify, "x") != "" || d.Template(wire.Endpoint(99)) != "" {
		t.Error("endpoint that is not offered")
	}
	const own = `{"base":"https://a/v1","record":"AAAA"}`
	for why, c := range map[string]struct {
		in   string
		want error
	}{
		"nothing":        {``, wire.ErrMalformed},
		"array":          {`[]`, wire.ErrMalformed},
		"empty":          {`{}`, wire.ErrMalformed},
		"unfinished":     {`{"update":"https://a/{roomId}"`, wire.ErrMalformed},
		"number":         {`{"update":1}`, wire.ErrMalformed},
		"nested":         {`{"update":{}}`, wire.ErrMalformed},
		"null":           {`{"update":null}`, wire.ErrMalformed},
		"bad escape":     {`{"update":"\x"}`, wire.ErrMalformed},
		"own, twice":     {`{"mimid":` + own + `,"mimid":` + own + `}`, wire.ErrNonCanonical},
		"own, a text":    {`{"mimid":"x"}`, wire.ErrMalformed},
		"own, null":      {`{"mimid":null}`, wire.ErrMalformed},
		"own, no base":   {`{"mimid":{"record":"AAAA"}}`, wire.ErrMalformed},
		"own, no record": {`{"mimid":{"base":"https://a/v1"}}`, wire.ErrMalformed},
		"own, http":      {`{"mimid":{"base":"http://a/v1","record":"AAAA"}}`, wire.ErrMalformed},
		"own, slash":     {`{"mimid":{"base":"https://a/v1/","record":"AAAA"}}`, wire.ErrMalformed},
		"own, query":     {`{"mimid":{"base":"https://a/v1?","record":"AAAA"}}`, wire.ErrMalformed},
		"own, template":  {`{"mimid":{"base":"https://a/{x}","record":"AAAA"}}`, wire.ErrMalformed},
		"own, user":      {`{"mimid":{"base":"https://u@a/v1","record":"AAAA"}}`, wire.ErrMalformed},
		"own, base64":    {`{"mimid":{"base":"https://a/v1","record":"A"}}`, wire.ErrMalformed},
		"own, large":     {`{"mimid":{"base":"https://a/v1","record":"` + strings.Repeat("A", 5464) + `"}}`, wire.ErrTooLarge},
		"own alone":      {`{"mimid":` + own + `}`, wire.ErrMalformed},
		"only unknown":   {`{"Update":"https://a/{roomId}"}`, wire.ErrMalformed},
		"twice":          {`{"update":"https://a/{roomId}","update":"https://a/{roomId}"}`, wire.ErrNonCanonical},
		"trailing":       {`{"update":"https://a/{roomId}"} {}`, wire.ErrTrailing},
		"http":           {`{"update":"http://a/{roomId}"}`, wire.ErrMalformed},
		"no host":        {`{"update":"https:///{roomId}"}`, wire.ErrMalformed},
		"in the host":    {`{"update":"https://{roomId}/"}`, wire.ErrMalformed},
		"with user":      {`{"update":"https://u@a/{roomId}"}`, wire.ErrMalformed},
		"fragment":       {`{"update":"https://a/{roomId}#x"}`, wire.ErrMalformed},
		"no variable":    {`{"update":"https://a/"}`, wire.ErrMalformed},
		"two variables":  {`{"update":"https://a/{roomId}{roomId}"}`, wire.ErrMalformed},
		"wrong variable": {`{"update":"https://a/{targetUser}"}`, wire.ErrMalformed},
		"space":          {`{"update":"https://a/ {roomId}"}`, wire.ErrMalformed},
		"not ASCII":      {`{"update":"https://a/é{roomId}"}`, wire.ErrMalformed},
		"not UTF-8":      {"{\"update\":\"https://a/\xff{roomId}\"}", wire.ErrMalformed},
		"long":           {`{"update":"https://a/` + strings.Repeat("x", 3000) + `{roomId}"}`, wire.ErrTooLarge},
		"large":          {`{` + strings.Repeat(" ", 1<<17), wire.ErrTooLarge},
	} {
		if _, err := wire.ParseDirectory([]byte(c.in), wire.Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", why, err, c.want)
		}
	}
	for _, base := range []string{"http://a", "https://", "a", "https://a/{x}"} {
		if _, err := wire.NewDirectory(base); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("base %q: %v", base, err)
		}
	}
	if _, err := new(wire.Directory).Bytes(); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("empty directory: %v", err)
	}
}

// TestDirectoryUnknownMembers: section 5.1 does not say that a directory holds
// nothing else, so what is not known is skipped; our own member is read.
func TestDirectoryUnknownMembers(t *testing.T) {
	d, err := wire.ParseDirectory([]byte(`{"later":{"x":[1,{"y":null}]},"update":"https://a.example/u/{roomId}","n":1,"n":2,
		"mimid":{"base":"https://a.example/v1","record":"AQID","later":true}}`), wire.Limits{})
	must(t, err)
	if got := d.URL(wire.EndpointUpdate, "r"); got != "https://a.example/u/r" {
		t.Error(got)
	}
	m, ok := d.Mimid()
	if !ok || m.Base != "https://a.example/v1" || !bytes.Equal(m.Record, []byte{1, 2, 3}) {
		t.Errorf("%+v %v", m, ok)
	}
	b, err := d.Bytes()
	must(t, err)
	again, err := wire.ParseDirectory(b, wire.Limits{})
	must(t, err)
	if *again != *d {
		t.Errorf("%s\nis read as %+v", b, again)
	}
	plain, err := wire.NewDirectory("https://a.example/v1")
	must(t, err)
	if m, ok := plain.Mimid(); ok {
		t.Errorf("%+v", m)
	}
	full, err := plain.WithMimid(wire.Mimid{Base: "https://a.example/v1", Record: make([]byte, 4096)})
	must(t, err)
	if m, ok := full.Mimid(); !ok || len(m.Record) != 4096 {
		t.Errorf("%+v %v", m, ok)
	}
	if _, err := plain.WithMimid(wire.Mimid{Base: "https://a.example/v1", Record: make([]byte, 4097)}); !errors.Is(err, wire.ErrTooLarge) {
		t.Error(err)
	}
	for e := wire.EndpointKeyMaterial; e <= wire.EndpointProxyDownload; e++ {
		if got, ok := wire.EndpointNamed(e.String()); !ok || got != e {
			t.Errorf("%v: %v %v", e, got, ok)
		}
	}
	if _, ok := wire.EndpointNamed("mimid-log"); ok {
		t.Error("our own endpoint is taken for MIMI's")
	}
}
