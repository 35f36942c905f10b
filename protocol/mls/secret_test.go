package mls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// exportedTypes is every exported type of the package;
// TestExportedTypesListed says so.
var exportedTypes = []reflect.Type{
	reflect.TypeFor[AcceptBasic](), reflect.TypeFor[AppDataOperation](), reflect.TypeFor[AppDataUpdate](),
	reflect.TypeFor[Authenticator](), reflect.TypeFor[Capabilities](), reflect.TypeFor[Change](),
	reflect.TypeFor[CipherSuite](), reflect.TypeFor[CommitOptions](), reflect.TypeFor[ComponentID](),
	reflect.TypeFor[ComponentLogic](), reflect.TypeFor[Config](), reflect.TypeFor[ContentType](),
	reflect.TypeFor[ContinueParams](), reflect.TypeFor[Credential](), reflect.TypeFor[CredentialType](),
	reflect.TypeFor[Dictionary](), reflect.TypeFor[Extension](), reflect.TypeFor[ExtensionType](),
	reflect.TypeFor[Extensions](), reflect.TypeFor[ExternalOptions](), reflect.TypeFor[ExternalSender](),
	reflect.TypeFor[Group](), reflect.TypeFor[GroupContext](), reflect.TypeFor[GroupInfo](),
	reflect.TypeFor[GroupParams](), reflect.TypeFor[HPKECiphertext](), reflect.TypeFor[HPKEKey](), reflect.TypeFor[JoinOptions](),
	reflect.TypeFor[KeyPackage](), reflect.TypeFor[LeafChange](), reflect.TypeFor[LeafIndex](),
	reflect.TypeFor[LeafNode](), reflect.TypeFor[LeafParams](), reflect.TypeFor[LeafSource](),
	reflect.TypeFor[Lifetime](), reflect.TypeFor[Limits](), reflect.TypeFor[Member](),
	reflect.TypeFor[MemberUpdate](), reflect.TypeFor[Message](), reflect.TypeFor[PSKSource](),
	reflect.TypeFor[PSKType](), reflect.TypeFor[Part](), reflect.TypeFor[PreSharedKeyID](), reflect.TypeFor[ProposalError](),
	reflect.TypeFor[PrivateKeyPackage](), reflect.TypeFor[PrivateMessage](), reflect.TypeFor[Proposal](),
	reflect.TypeFor[ProposalType](), reflect.TypeFor[ProtocolVersion](), reflect.TypeFor[PublicGroup](),
	reflect.TypeFor[PublicMessage](), reflect.TypeFor[RatchetTree](), reflect.TypeFor[ReInit](),
	reflect.TypeFor[Received](), reflect.TypeFor[RequiredCapabilities](), reflect.TypeFor[ResumptionUsage](),
	reflect.TypeFor[SendOptions](), reflect.TypeFor[Sender](), reflect.TypeFor[SenderType](),
	reflect.TypeFor[SignatureKey](), reflect.TypeFor[StagedCommit](), reflect.TypeFor[UsedProposal](),
	reflect.TypeFor[ValidKeyPackage](), reflect.TypeFor[Welcome](), reflect.TypeFor[WireFormat](),
}

func TestExportedTypesListed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err, fs.ErrNotExist)
	}
	listed := map[string]bool{}
	for _, x := range exportedTypes {
		listed[x.Name()] = true
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() && !listed[s.Name.Name] {
					t.Errorf("%s: type %s is not in the list", name, s.Name)
				}
			}
		}
	}
}

// holdsSecrets says whether key material can be reached from a value of type x.
func holdsSecrets(x reflect.Type, seen map[reflect.Type]bool) bool {
	switch x {
	case reflect.TypeFor[secret](), reflect.TypeFor[ed25519.PrivateKey](), reflect.TypeFor[ecdsa.PrivateKey]():
		return true
	}
	if seen[x] {
		return false
	}
	seen[x] = true
	switch x.Kind() {
	case reflect.Struct:
		for i := range x.NumField() {
			if holdsSecrets(x.Field(i).Type, seen) {
				return true
			}
		}
	case reflect.Map:
		return holdsSecrets(x.Key(), seen) || holdsSecrets(x.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holdsSecrets(x.Elem(), seen)
	}
	return false
}

// secretsIn collects the key material that can be reached from a value.
func secretsIn(v any) (out [][]byte) {
	seen := map[unsafe.Pointer]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Type() {
		case reflect.TypeFor[secret]():
			out = append(out, slices.Clone(v.Bytes()))
			return
		case reflect.TypeFor[ed25519.PrivateKey]():
			if b := v.Bytes(); len(b) > 0 {
				out = append(out, slices.Clone(b[:ed25519.SeedSize])) // the rest is public
			}
			return
		case reflect.TypeFor[*ecdsa.PrivateKey]():
			if !v.IsNil() {
				k := (*ecdsa.PrivateKey)(v.UnsafePointer())
				out = append(out, fuzzGot(k.Bytes()))
			}
			return
		}
		switch v.Kind() {
		case reflect.Pointer:
			if p := v.UnsafePointer(); !v.IsNil() && !seen[p] {
				seen[p] = true
				walk(v.Elem())
			}
		case reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice, reflect.Array:
			if holdsSecrets(v.Type().Elem(), map[reflect.Type]bool{}) {
				for i := range v.Len() {
					walk(v.Index(i))
				}
			}
		case reflect.Map:
			for it := v.MapRange(); it.Next(); {
				walk(it.Value())
			}
		}
	}
	walk(reflect.ValueOf(v))
	return slices.DeleteFunc(out, func(b []byte) bool { return len(b) < 8 })
}

// traces are the ways in which windows of a secret could show in a text: raw,
// quoted, hexadecimal, base64, lists of numbers.
func traces(secrets [][]byte) (out []string) {
	const window = 9 // three groups of base64
	for _, b := range secrets {
		for at := 0; at+window <= len(b); at += window {
			w := b[at : at+window]
			if distinct := slices.Compact(slices.Sorted(slices.Values(w))); len(distinct) < 5 {
				continue // the commit secret of a commit without a path is zero
			}
			quoted := strconv.Quote(string(w))
			base := strings.TrimRight(base64.StdEncoding.EncodeToString(w), "=")
			url := strings.TrimRight(base64.URLEncoding.EncodeToString(w), "=")
			decimal := strings.Trim(fmt.Sprint(w), "[]")
			goSyntax := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", w), "[]byte{"), "}")
			out = append(out, string(w), quoted[1:len(quoted)-1], hex.EncodeToString(w), strings.ToUpper(hex.EncodeToString(w)),
				base, url, decimal, strings.ReplaceAll(decimal, " ", ","), strings.ReplaceAll(decimal, " ", ", "), goSyntax)
		}
	}
	return out
}

func leaks(text string, traces []string) bool {
	return slices.ContainsFunc(traces, func(t string) bool { return strings.Contains(text, t) })
}

// TestLeaksAreFound: the search finds what fmt and json do with plain bytes.
func TestLeaksAreFound(t *testing.T) {
	key := fuzzGot(GenerateSignatureKey(X25519AES128Ed25519)).Bytes()
	tr := traces([][]byte{key})
	type box struct{ b []byte }
	for _, verb := range verbs {
		for _, v := range []any{key, box{key}, &box{key}, struct{ B []byte }{key}} {
			if text := fmt.Sprintf(verb, v); !leaks(text, tr) {
				t.Errorf("%s of %T is not found: %s", verb, v, text)
			}
		}
	}
	if text := string(fuzzGot(json.Marshal(key))); !leaks(text, tr) {
		t.Errorf("JSON is not found: %s", text)
	}
	if leaks(fmt.Sprint(secret(key), []secret{key}, struct{ S secret }{key}), tr) {
		t.Error("type secret prints")
	}
}

var verbs = []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"}

// sample is a value that holds secrets, in every wrapping.
type sample struct {
	typ     reflect.Type
	secrets [][]byte
	forms   []any
}

// hiding says how deep in an application's own types a value keeps its secrets
// to itself: fmt calls no methods of what is in an unexported field.
type hiding int

const (
	exported hiding = iota // wherever fmt finds its Format method
	pointed                // also as a pointer in an unexported field
	anywhere               // also as a value in one
)

// sampleOf wraps v.
func sampleOf[T any](v T, h hiding) sample {
	type shown struct{ V T }
	type inside struct{ v T }
	type pointer struct{ v *T }
	type boxed struct{ V any }
	s := sample{typ: reflect.TypeFor[T](), secrets: secretsIn(&v), forms: []any{
		v, &v, shown{v}, &shown{v}, boxed{v}, boxed{&v}, []T{v}, []*T{&v},
		map[string]T{"k": v}, map[string]*T{"k": &v}, struct{ shown }{shown{v}}, [1]T{v}}}
	if h >= pointed {
		s.forms = append(s.forms, pointer{&v}, &pointer{&v}, boxed{pointer{&v}})
	}
	if h >= anywhere {
		s.forms = append(s.forms, inside{v}, &inside{v}, boxed{inside{v}})
	}
	return s
}

func samples(t *testing.T, suite CipherSuite) []sample {
	r := newFuzzRoom(suite)
	g := r.members[2] // has an own Update pending
	m, other := r.honest, r.members[1]
	fuzzGot(g.Process(fuzzGot(ParseMessage(m[6].raw, Limits{})), fuzzTime)) // an application message
	private := fuzzGot(other.Process(fuzzGot(ParseMessage(m[5].raw, Limits{})), fuzzTime))
	commit := fuzzGot(g.Process(fuzzGot(ParseMessage(m[0].raw, Limits{})), fuzzTime))
	lp := r.params("leaf params")
	change := &LeafChange{Signer: fuzzGot(GenerateSignatureKey(suite))}
	own := fuzzGot(other.Commit(CommitOptions{Leaf: change, WithoutPending: true}, fuzzTime))
	external := fuzzGot(ExternalCommit(fuzzGot(g.GroupInfo(true)), ExternalOptions{LeafParams: r.params("stranger")}, r.cfg, fuzzTime))
	if private.step == nil || commit.Commit == nil || len(g.updates) == 0 || len(g.past) == 0 || len(g.resumption) == 0 {
		t.Fatal("the samples hold less than they should")
	}
	out := []sample{
		sampleOf(r.owner, anywhere), sampleOf(lp, anywhere), sampleOf(GroupParams{LeafParams: lp}, anywhere),
		sampleOf(ContinueParams{LeafParams: lp}, anywhere), sampleOf(ExternalOptions{LeafParams: lp}, anywhere),
		sampleOf(*change, anywhere), sampleOf(CommitOptions{Leaf: change}, anywhere), sampleOf(JoinOptions{Parent: g}, anywhere),
		// Handed out as pointers, and to be kept so.
		sampleOf(*g, pointed), sampleOf(*commit.Commit, pointed), sampleOf(*own, pointed), sampleOf(*external, pointed),
		sampleOf(*private, pointed), sampleOf(*commit, pointed), sampleOf(*r.joiner, pointed),
	}
	out = append(out, sampleOf(fuzzGot(GenerateHPKEKey(suite)), anywhere))
	// Of these, the type does not say what they hold.
	config := r.cfg
	config.PSKs = psksOf{"psk": bytes.Repeat([]byte("psk%&!x"), 5)}
	psk := [][]byte{config.PSKs.(psksOf)["psk"]}
	pub := *g.pub
	pub.cfg = config
	for _, s := range []sample{sampleOf(config, exported), sampleOf(pub, exported)} {
		s.secrets = append(s.secrets, psk...)
		out = append(out, s)
	}
	part := sampleOf(Part{"e", g.encodePart(partKey{kind: 'e'})}, exported)
	part.secrets = secretsIn(g.epoch)
	return append(out, part)
}

// psksOf is a PSKSource as an application might write it.
type psksOf map[string][]byte

func (p psksOf) ExternalPSK(id []byte) ([]byte, error)             { return p[string(id)], nil }
func (p psksOf) ResumptionPSK(id []byte, _ uint64) ([]byte, error) { return p[string(id)], nil }

// TestSecretsNeverPrint: no exported type that key material can be reached from
// shows it under any verb of fmt, in a log, or as JSON, but for a Part as JSON:
// that is the stored state itself, and a way to store it.
func TestSecretsNeverPrint(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		covered := map[reflect.Type]bool{}
		for _, s := range samples(t, suite) {
			if len(s.secrets) == 0 {
				t.Fatalf("sample of %v holds no secret", s.typ)
			}
			covered[s.typ] = true
			tr := traces(s.secrets)
			for _, v := range s.forms {
				for _, verb := range verbs {
					if text := fmt.Sprintf(verb, v); leaks(text, tr) {
						t.Errorf("%s of %T shows a secret: %.200q", verb, v, text)
					}
				}
				var b bytes.Buffer
				slog.New(slog.NewTextHandler(&b, nil)).Info("x", slog.Any("v", v), "w", v)
				if leaks(b.String(), tr) {
					t.Errorf("text log of %T shows a secret: %.200q", v, b.String())
				}
				if s.typ == reflect.TypeFor[Part]() {
					continue
				}
				b.Reset()
				slog.New(slog.NewJSONHandler(&b, nil)).Info("x", slog.Any("v", v))
				if leaks(b.String(), tr) {
					t.Errorf("JSON log of %T shows a secret: %.200q", v, b.String())
				}
				if text, err := json.Marshal(v); leaks(string(text)+fmt.Sprint(err), tr) {
					t.Errorf("JSON of %T shows a secret: %.200q", v, text)
				}
			}
		}
		for _, x := range exportedTypes {
			if holdsSecrets(x, map[reflect.Type]bool{}) && !covered[x] {
				t.Errorf("%v holds secrets, but there is no sample of it", x)
			}
		}
	}
}

// TestSecretsNotInErrors: whatever fails, its error shows nothing of the
// secrets of anybody involved.
func TestSecretsNotInErrors(t *testing.T) {
	for _, suite := range []CipherSuite{X25519AES128Ed25519, P256AES128P256} {
		r := fuzzRoomOf(t, suite)
		var errs []error
		note := func(err error) {
			if err != nil {
				errs = append(errs, err)
			}
		}
		inputs := badInputs(r)
		for _, h := range r.honest {
			for at := 4; at < len(h.raw); at += 1 + len(h.raw)/60 {
				b := slices.Clone(h.raw)
				b[at] ^= 1
				inputs = append(inputs, badInput{raw: b, info: h.info, from: h.from})
			}
		}
		for _, in := range inputs {
			m, err := ParseMessage(in.raw, in.lim)
			note(err)
			if err != nil {
				continue
			}
			if m.Public != nil {
				_, err = r.server.Process(m.Public, in.info, fuzzTime)
				note(err)
			}
			for i, x := range r.members {
				if i != in.from {
					_, err = x.Process(m, fuzzTime)
					note(err)
				}
			}
			if m.Welcome != nil {
				_, err = JoinWelcome(m.Welcome, r.joiner, JoinOptions{Tree: r.tree}, r.cfg, fuzzTime)
				note(err)
			}
		}
		// Stored secrets that are damaged.
		damaged := func(b []byte, f func([]byte) error) {
			for _, at := range []int{0, 1, len(b) / 3, len(b) / 2, len(b) - 1} {
				c := slices.Clone(b)
				c[at] ^= 1
				note(f(c))
				note(f(b[:at]))
			}
			note(f(append(slices.Clone(b), 0)))
		}
		g := r.members[2]
		damaged(r.joiner.Bytes(), func(b []byte) error { _, err := ParsePrivateKeyPackage(b); return err })
		damaged(g.signer.Bytes(), func(b []byte) error { _, err := ParseSignatureKey(suite, b); return err })
		staged := fuzzGot(fuzzGot(g.Commit(CommitOptions{}, fuzzTime)).Bytes())
		damaged(staged, func(b []byte) error { _, err := g.LoadStaged(b); return err })
		parts := AllParts(g)
		for i := range parts {
			if len(parts[i].Value) == 0 {
				continue
			}
			damaged(parts[i].Value, func(b []byte) error {
				p := slices.Clone(parts)
				p[i].Value = b
				_, err := LoadGroup(partsOf(p), r.cfg)
				return err
			})
		}
		_, err := g.Export("label", nil, 1<<20)
		note(err)
		_, err = g.ResumptionPSK(77)
		note(err)
		_, err = g.Commit(CommitOptions{Proposals: []*Proposal{NewPSKProposal(PreSharedKeyID{Type: PSKExternal, ID: []byte("?")})}}, fuzzTime)
		note(err)
		if len(errs) < 500 {
			t.Fatalf("only %d errors", len(errs))
		}
		all := [][]byte{r.secrets.joiner, r.secrets.path}
		for _, v := range []any{r.joiner, r.owner, r.joined, r.spare, r.members} {
			all = append(all, secretsIn(v)...)
		}
		windows := map[string]bool{}
		for _, b := range all {
			for at := range len(b) - 7 {
				if w := b[at : at+8]; len(slices.Compact(slices.Sorted(slices.Values(w)))) > 4 {
					windows[string(w)] = true
				}
			}
		}
		for _, err := range errs {
			text := fmt.Sprintf("%v %+v", err, err)
			for at := range len(text) - 7 {
				raw, bin := text[at:at+8], ""
				if at+16 <= len(text) {
					if b, err := hex.DecodeString(text[at : at+16]); err == nil {
						bin = string(b)
					}
				}
				if windows[raw] || windows[bin] {
					t.Errorf("error shows a secret: %q", err)
				}
			}
		}
	}
}
