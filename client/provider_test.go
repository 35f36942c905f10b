package client_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/oprf"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// fake is a provider of several domains in one, and the hub of all rooms, in
// memory: strict about what clients do, and perverse where it may be.
type fake struct {
	assets  *fakeAssets
	gateway *fakeGateway
	t       testing.TB
	server  *httptest.Server
	auth    *x509auth.Authenticator

	mu      sync.Mutex
	keys    map[string]ed25519.PrivateKey
	users   map[string]*fakeUser // by URI
	devices map[string]*fakeUser // by token
	rooms   map[room.ID]*fakeRoom
	closing chan struct{}
	// refuse may answer a request before it is looked at; after spoils the answer
	// of one that was carried out.
	refuse     func(*http.Request) *clientapi.Problem
	after      func(*http.Request) *clientapi.Problem
	calls      map[string]int     // by method and path pattern
	discovered clientapi.Discover // the last that was asked
	forgetful  bool               // does not say which way it has asked
	steady     bool               // writes streams steadily, or says so
	strict     bool               // nobody may be added without consent
	grants     map[string]bool
	shy        bool // the provider gives KeyPackages to everybody, although nobody has consented
	// holdEntries keeps entries out of streams; hub logs have them.
	holdEntries bool
	claims      []*clientapi.Found
	issuer      *fakeIssuer    // nil: no tokens
	authority   *fakeAuthority // nil: none is believed
	evaluators  *oprf.KeySet   // nil: there are none
	shares      []*oprf.Share
	evaluate    func([]clientapi.Evaluation) []clientapi.Evaluation // what is passed on of evaluations; nil: all
	doubled     bool                                                // every event twice
	late        time.Duration                                       // the clock runs ahead by this
	piece       int                                                 // entries in a piece of log; 2 if 0
	recruit     *clientapi.Recruit
	signal      func(data []byte) [][]byte // what is made of ephemeral messages; nil: nothing else
	signalled   int
	movingTo    string              // to whom a move was acknowledged
	conflict    *clientapi.Conflict // of all rooms
	moves       func(b *wire.HandshakeBundle) error
	spoil       func(m *room.Message) // what the hub puts into the log instead
	apart       bool                  // providers hear nothing of each other's rooms
	echo        bool                  // who says a word on consent is shown it, on its device that the fake has
	complicit   bool                  // the hub orders what its rooms do not allow
	listed      bool                  // but list them
	replicas    bool                  // all that providers need to become replicas is known of them
	boxes       map[string]*fakeBox
	modes       map[string]*clientapi.ConsentModes // by user
	overtaken   int                                // how often another device is faster to set them
	swap        func(x *fakeBox, hello bool)       // what a hostile provider makes of a message
}

type fakeUser struct {
	uri, client, token string
	key                ed25519.PublicKey
	cert               []byte
	packages           [][]byte
	last               []byte
	level              string // as the provider sees the user
	feed               []fakeEvent
	now                []fakeEvent // not kept
	wake               chan struct{}
	held               []fakeEvent // while f.apart
}

type fakeEvent struct {
	kind string
	data []byte
}

type fakeRoom struct {
	state   *room.State
	entries []*room.Entry
	heads   []room.SignedHead
	txns    map[room.TxnID][]byte // first answers
	key     ed25519.PrivateKey
	pending []wire.PendingProposal
}

func newFake(t testing.TB) *fake {
	f := &fake{t: t, keys: map[string]ed25519.PrivateKey{}, users: map[string]*fakeUser{}, devices: map[string]*fakeUser{},
		rooms: map[room.ID]*fakeRoom{}, closing: make(chan struct{}), calls: map[string]int{}, grants: map[string]bool{}, modes: map[string]*clientapi.ConsentModes{}}
	for i, d := range []string{"atlanta.example", "biloxi.example", "chicago.example"} {
		f.keys[d] = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))
	}
	var err error
	if f.auth, err = x509auth.New(x509auth.Options{Anchors: f.anchors}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(*http.Request, *fakeUser) (any, error){
		"GET /v1/providers/{domain}":      f.provider,
		"POST /v1/account/certificate":    f.certificate,
		"POST /v1/keypackages":            f.publish,
		"GET /v1/keypackages":             f.count,
		"GET /v1/devices":                 f.ownDevices,
		"POST /v1/keypackages/claim":      f.claim,
		"POST /v1/consent":                f.consent,
		"GET /v1/consent":                 f.consents,
		"GET /v1/consent/modes":           f.consentModes,
		"PUT /v1/consent/modes":           f.setConsentModes,
		"GET /v1/tokens":                  f.tokenKeys,
		"POST /v1/tokens":                 f.newTokens,
		"POST /v1/introduce":              f.introduce,
		"GET /v1/introductions":           f.introductions,
		"POST /v1/introductions":          f.judgeIntroduction,
		"POST /v1/claims":                 f.publishClaim,
		"DELETE /v1/claims":               f.withdrawClaim,
		"POST /v1/discover":               f.discover,
		"POST /v1/evaluate":               f.evaluated,
		"POST /v1/verifications":          f.verify,
		"POST /v1/verifications/answer":   f.answerVerification,
		"GET /v1/provider":                f.ownProvider,
		"POST /v1/rooms":                  f.create,
		"GET /v1/rooms":                   f.list,
		"GET /v1/rooms/{room}":            f.describe,
		"GET /v1/room-hub":                f.roomHub,
		"GET /v1/rooms/{room}/log":        f.log,
		"POST /v1/rooms/{room}/messages":  f.message,
		"POST /v1/rooms/{room}/updates":   f.update,
		"POST /v1/rooms/{room}/groupinfo": f.groupInfo,
		"POST /v1/rooms/{room}/ephemeral": f.ephemeral,
		"POST /v1/rooms/{room}/recruit":   func(*http.Request, *fakeUser) (any, error) { return f.recruit, nil },
		"POST /v1/pairings":               f.openBox,
		"GET /v1/pairings/{box}":          f.boxHello,
		"POST /v1/pairings/{box}/answer":  f.boxAnswer,
		"DELETE /v1/pairings/{box}":       f.closeBox,
		"DELETE /v1/devices/{name}":       f.dropDevice,
		"POST /v1/pairings/{box}/hello":   f.sayHello,
		"POST /at/{domain}/v1/accounts":   f.register,
		"GET /at/{domain}/v1/provider":    f.self,
	} {
		mux.HandleFunc(pattern, f.wrap(pattern, h))
	}
	mux.HandleFunc("GET /v1/events", f.events)
	f.keep(mux)
	f.oblivious(mux)
	// Each domain has its own base path; what follows is the same for all.
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for d := range f.keys {
			if rest, ok := strings.CutPrefix(r.URL.Path, "/at/"+d+"/"); ok && rest != "v1/accounts" && rest != "v1/provider" {
				r.URL.Path = "/" + rest
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		close(f.closing)
		f.server.Close()
	})
	return f
}

func (f *fake) url(domain string) string { return f.server.URL + "/at/" + domain }

func (f *fake) now() time.Time { return time.Now().Add(f.late) }

func (f *fake) anchors(domain string) []crypto.PublicKey {
	if k := f.keys[domain]; k != nil {
		return []crypto.PublicKey{k.Public()}
	}
	return nil
}

func refused(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func (f *fake) wrap(pattern string, h func(*http.Request, *fakeUser) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls[pattern]++
		fail := func(p *clientapi.Problem) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(p.Status)
			json.NewEncoder(w).Encode(p)
		}
		if f.refuse != nil {
			if p := f.refuse(r); p != nil {
				fail(p)
				return
			}
		}
		var u *fakeUser
		if !strings.Contains(pattern, "/at/") && !strings.HasSuffix(pattern, "/hello") && !strings.HasSuffix(pattern, "/introduce") {
			if u = f.devices[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; u == nil {
				fail(refused(401, clientapi.CodeUnauthorized, "unknown token"))
				return
			}
		}
		out, err := h(r, u)
		var p *clientapi.Problem
		if err != nil && !errors.As(err, &p) {
			f.t.Errorf("fake: %s: %v", pattern, err)
			p = refused(500, clientapi.CodeInternal, "%v", err)
		}
		if p == nil && f.after != nil {
			p = f.after(r)
		}
		if p != nil {
			fail(p)
			return
		}
		if out == nil {
			w.WriteHeader(204)
			return
		}
		json.NewEncoder(w).Encode(out)
	}
}

func body[T any](r *http.Request) (*T, error) {
	v := new(T)
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return nil, refused(422, clientapi.CodeInvalid, "%v", err)
	}
	return v, nil
}

func (f *fake) about(domain string) *clientapi.Provider {
	k := f.keys[domain]
	if k == nil {
		return nil
	}
	pub := []byte(k.Public().(ed25519.PublicKey))
	p := &clientapi.Provider{Domain: domain, Key: pub, Keys: [][]byte{pub}, Trust: "dns"}
	if f.replicas {
		p.FrankingKey = pub
	}
	if f.evaluators != nil {
		p.Evaluators = f.evaluators.Bytes()
	}
	if f.authority != nil {
		p.Authorities = []string{"chicago.example"}
	}
	return p
}

func (f *fake) self(r *http.Request, _ *fakeUser) (any, error) {
	p := f.about(r.PathValue("domain"))
	p.Trust, p.FrankingKey, p.MaxMessage = "self", p.Key, 1<<19 // franks are signed with the provider's key
	p.MaxAsset = 1 << 20
	return p, nil
}

func (f *fake) provider(r *http.Request, _ *fakeUser) (any, error) {
	if p := f.about(r.PathValue("domain")); p != nil {
		return p, nil
	}
	return nil, refused(502, clientapi.CodeUnknownProvider, "no such provider")
}

func (f *fake) register(r *http.Request, _ *fakeUser) (any, error) {
	n, err := body[clientapi.NewAccount](r)
	if err != nil {
		return nil, err
	}
	domain := r.PathValue("domain")
	if !ed25519.Verify(n.UserKey, n.ProofTBS(domain), n.Proof) {
		return nil, refused(403, clientapi.CodeBadInvite, "bad proof")
	}
	p, err := uri.ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	u, err := p.User(n.Invite)
	if err != nil {
		return nil, err
	}
	if old := f.users[u.String()]; old != nil && !bytes.Equal(old.key, n.UserKey) {
		return nil, refused(409, clientapi.CodeNameTaken, "taken")
	}
	c, err := p.Client(n.Invite, n.Device)
	if err != nil {
		return nil, err
	}
	cert, err := x509auth.IssueUser(f.keys[domain], u.String(), ed25519.PublicKey(n.UserKey), x509auth.ValidFor(f.now(), x509auth.Lifetime))
	if err != nil {
		return nil, err
	}
	d := &fakeUser{uri: u.String(), client: c.String(), token: "token-" + c.String(), key: n.UserKey, cert: cert, wake: make(chan struct{})}
	f.users[d.uri], f.devices[d.token] = d, d
	return &clientapi.Account{User: d.uri, Client: d.client, Token: d.token, Certificate: cert}, nil
}

func (f *fake) certificate(r *http.Request, u *fakeUser) (any, error) {
	who, _ := uri.ParseUser(u.uri)
	cert, err := x509auth.IssueUser(f.keys[who.Provider().Domain()], u.uri, u.key, x509auth.ValidFor(f.now(), 2*x509auth.Lifetime))
	return &clientapi.Certificate{Certificate: cert}, err
}

func (f *fake) publish(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.NewKeyPackages](r)
	if err != nil {
		return nil, err
	}
	check := func(raw []byte, last bool) error {
		kp, err := mls.ParseKeyPackage(raw, mls.Limits{})
		if err == nil {
			_, err = kp.Verify(room.Config(f.auth), f.now())
		}
		if err == nil && kp.LastResort(mls.Limits{}) != last {
			err = errors.New("last resort or not")
		}
		if name, _ := x509auth.ClientURI(kp.Leaf.Credential); err == nil && name != u.client {
			err = errors.New("of another client")
		}
		return err
	}
	if n.Replace {
		u.packages = nil
	}
	for _, raw := range n.KeyPackages {
		if err := check(raw, false); err != nil {
			return nil, err
		}
		u.packages = append(u.packages, raw)
	}
	if n.LastResort != nil {
		if err := check(n.LastResort, true); err != nil {
			return nil, err
		}
		u.last = n.LastResort
	}
	return f.count(r, u)
}

func (f *fake) count(_ *http.Request, u *fakeUser) (any, error) {
	n := &clientapi.KeyPackageCount{Available: len(u.packages), LastResort: u.last != nil, Level: u.level}
	for _, raw := range slices.Concat([][]byte{u.last}, u.packages) {
		if raw == nil {
			continue
		}
		kp, err := mls.ParseKeyPackage(raw, mls.Limits{})
		if err != nil {
			return nil, err
		}
		if kp.LastResort(mls.Limits{}) {
			n.LastResortEnds, n.LastResortRef, n.Next = int64(kp.Leaf.Lifetime.NotAfter), kp.Ref(), kp.Ref()
			continue
		}
		if n.Ends == 0 {
			n.Next = kp.Ref()
		}
		n.Ends = max(n.Ends, int64(kp.Leaf.Lifetime.NotAfter))
	}
	return n, nil
}

func (f *fake) ownDevices(_ *http.Request, u *fakeUser) (any, error) {
	return &clientapi.Devices{Devices: []clientapi.Device{{Name: "phone", Client: u.client, KeyPackages: len(u.packages), LastResort: u.last != nil}}}, nil
}

func (f *fake) claim(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.ClaimKeyPackages](r)
	if err != nil {
		return nil, err
	}
	req, err := wire.ParseKeyMaterialRequest(n.Request, wire.Limits{})
	if err != nil {
		return nil, err
	}
	if _, err := req.Verify(f.auth, f.now()); err != nil {
		return nil, err
	}
	resp := &wire.KeyMaterialResponse{User: req.TargetUser}
	t := f.users[string(req.TargetUser)]
	switch {
	case t == nil || f.strict && !f.grants[u.uri+" "+t.uri]:
		resp.Status = wire.KeyMaterialNoConsent
	case len(t.packages) == 0 && t.last == nil:
		resp.Status = wire.KeyMaterialNoCompatible
	default:
		raw := t.last
		if len(t.packages) > 0 {
			raw, t.packages = t.packages[0], t.packages[1:]
		}
		kp, err := mls.ParseKeyPackage(raw, mls.Limits{})
		if err != nil {
			return nil, err
		}
		resp.Clients = []wire.ClientKeyMaterial{{Client: wire.IdentifierURI(t.client), KeyPackage: kp}}
	}
	b, err := resp.Bytes()
	return &clientapi.ClaimedKeyPackages{Response: b}, err
}

func (f *fake) consent(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.SendConsent](r)
	if err != nil {
		return nil, err
	}
	e, err := wire.ParseConsentEntry(n.Entry, wire.Limits{})
	if err != nil {
		return nil, err
	}
	f.introducedBy(e)
	from, to := string(e.Scope.Requester), string(e.Scope.Target)
	state := "requested"
	if e.Operation == wire.ConsentGrant {
		state = "granted"
		f.grants[from+" "+to] = true
	} else {
		from, to = to, from
	}
	for _, to := range []string{from, to} {
		if x := f.users[to]; x != nil && (to == from || f.echo) {
			f.push(x, clientapi.EventConsent, &clientapi.ConsentEvent{Entry: n.Entry, State: state})
		}
	}
	return nil, nil
}

// consents lists what a user has granted: to everybody, unless the provider is strict.
func (f *fake) consents(_ *http.Request, u *fakeUser) (any, error) {
	out := &clientapi.Consents{}
	for other := range f.users {
		if other != u.uri && (!f.strict && !f.shy || f.grants[other+" "+u.uri]) {
			out.Consents = append(out.Consents, clientapi.Consent{Requester: other, Target: u.uri, State: "granted"})
		}
	}
	return out, nil
}

// push puts an event into a device's feed.
func (f *fake) push(u *fakeUser, kind string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Error(err)
	}
	if f.foreign(u, v) {
		u.held = append(u.held, fakeEvent{kind, b})
		return
	}
	u.feed = append(u.feed, fakeEvent{kind, b})
	close(u.wake)
	u.wake = make(chan struct{})
}

// ephemeral tells all participants that listen what is not kept. What f.signal makes of it is
// told instead, nothing if that is nil.
func (f *fake) ephemeral(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.NewEphemeral](r)
	if err != nil {
		return nil, err
	}
	x, err := f.roomOf(r)
	if err != nil {
		return nil, err
	}
	list := [][]byte{n.Data}
	if f.signal != nil {
		list = f.signal(n.Data)
	}
	for _, data := range list {
		f.signalled++
		f.tellSignal(x.state.ID(), data)
	}
	return nil, nil
}

// tellSignal tells everybody something that is not kept.
func (f *fake) tellSignal(id room.ID, data []byte) {
	f.tellNow(clientapi.EventEphemeral, &clientapi.Ephemeral{Room: id.String(), Data: data})
}

// tellHub tells all devices how the hub of a room does.
func (f *fake) tellHub(st *clientapi.HubState) { f.tellNow(clientapi.EventHub, st) }

// tellNow tells all devices who listen what is not kept for others.
func (f *fake) tellNow(kind string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Error(err)
	}
	for _, u := range f.devices {
		u.now = append(u.now, fakeEvent{kind, b})
		close(u.wake)
		u.wake = make(chan struct{})
	}
}

// events is the stream; a cursor is the number of events before it.
func (f *fake) events(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.calls["GET /v1/events"]++
	if every := r.URL.Query().Get("steady"); every != "" && f.steady {
		w.Header().Set(clientapi.HeaderSteady, every)
	}
	u := f.devices[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	var p *clientapi.Problem
	if f.refuse != nil {
		p = f.refuse(r)
	}
	if u == nil && p == nil {
		p = refused(401, clientapi.CodeUnauthorized, "unknown token")
	}
	if p != nil {
		f.mu.Unlock()
		w.WriteHeader(p.Status)
		json.NewEncoder(w).Encode(p)
		return
	}
	at, err := strconv.Atoi(r.URL.Query().Get("cursor"))
	if err != nil || at > len(u.feed) {
		at = 0
	}
	fmt.Fprintf(w, "event: hello\ndata: {\"client\":%q,\"cursor\":\"%d\",\"resumed\":%v}\n\n", u.client, at, err == nil)
	for {
		for _, e := range u.now {
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.kind, e.data)
		}
		u.now = nil
		for ; at < len(u.feed); at++ {
			e := u.feed[at]
			n := 1
			if f.doubled {
				n = 2
			}
			for range n {
				fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", at+1, e.kind, e.data)
			}
		}
		wake := u.wake
		f.mu.Unlock()
		http.NewResponseController(w).Flush()
		select {
		case <-wake:
		case <-r.Context().Done():
			return
		case <-f.closing:
			return
		}
		f.mu.Lock()
	}
}

func (f *fake) create(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.NewRoom](r)
	if err != nil {
		return nil, err
	}
	name, err := uri.ParseRoom(n.URI)
	if err != nil {
		return nil, err
	}
	info, err := mls.ParseGroupInfo(n.GroupInfo, mls.Limits{})
	if err != nil {
		return nil, err
	}
	tree := new(mls.RatchetTree)
	rd := presentation.NewReader(n.Tree)
	tree.Read(rd, mls.Limits{})
	if err := rd.Done(); err != nil {
		return nil, err
	}
	c := &room.Create{URI: name, GroupInfo: info, Tree: tree}
	txn := room.TxnIDOf(room.TxnNonce(n.Nonce), c.Bytes())
	id := room.IDOf([]byte(n.URI))
	if old := f.rooms[id]; old != nil {
		if old.entries[0].Txn != txn {
			return nil, refused(409, clientapi.CodeExists, "exists")
		}
		return &clientapi.Submitted{}, nil
	}
	e := room.FirstEntry(c, txn, f.now())
	st, err := room.Begin(e, room.Rules{Auth: f.auth, Anchors: f.anchors})
	if err != nil {
		return nil, err
	}
	x := &fakeRoom{state: st, txns: map[room.TxnID][]byte{}, key: f.keys[name.Provider().Domain()]}
	f.rooms[id] = x
	f.order(x, e)
	return &clientapi.Submitted{}, nil
}

// order appends an entry that has been advanced to and tells participants.
func (f *fake) order(x *fakeRoom, e *room.Entry) {
	x.entries = append(x.entries, e)
	x.heads = append(x.heads, room.SignHead(room.HeadOf(e), x.key))
	if f.holdEntries {
		return
	}
	for _, u := range f.users {
		f.tellEntry(u, x, len(x.entries)-1)
	}
}

// tellEntry sends one entry to a device whose provider follows the room.
func (f *fake) tellEntry(u *fakeUser, x *fakeRoom, i int) {
	who, _ := uri.ParseUser(u.uri)
	if last, ok := x.state.MayRead(who.Provider().Domain()); !ok || uint64(i) > last {
		return
	}
	f.push(u, clientapi.EventEntries, &clientapi.Entries{Room: x.state.ID().String(),
		Entries: [][]byte{x.entries[i].Append(nil)}, Head: x.heads[i].Append(nil)})
}

func (f *fake) roomOf(r *http.Request) (*fakeRoom, error) {
	b, err := hex.DecodeString(r.PathValue("room"))
	if err != nil || len(b) != 32 {
		return nil, refused(422, clientapi.CodeInvalid, "room id")
	}
	x := f.rooms[room.ID(b)]
	if x == nil {
		return nil, refused(404, clientapi.CodeNotFound, "no such room")
	}
	return x, nil
}

func (f *fake) list(_ *http.Request, u *fakeUser) (any, error) {
	out := &clientapi.Rooms{Rooms: []clientapi.Room{}}
	who, _ := uri.ParseUser(u.uri)
	for id, x := range f.rooms {
		if f.apart && !f.listed && x.state.URI().Provider() != who.Provider() {
			continue
		}
		if x.state.Roles().Active(x.state.Role(who)) {
			r := clientapi.Room{ID: id.String(), URI: x.state.URI().String(), Next: uint64(len(x.entries)), Epoch: x.state.Epoch()}
			for _, p := range x.state.Participants() {
				r.Participants = append(r.Participants, clientapi.Participant{User: p.User.String(), Clients: x.state.Roster().Clients(p.User)})
			}
			out.Rooms = append(out.Rooms, r)
		}
	}
	return out, nil
}

func (f *fake) describe(r *http.Request, u *fakeUser) (any, error) {
	all, err := f.list(r, u)
	if err != nil {
		return nil, err
	}
	for _, x := range all.(*clientapi.Rooms).Rooms {
		if x.ID == r.PathValue("room") {
			x.MovingTo, x.Conflict = f.movingTo, f.conflict
			return &x, nil
		}
	}
	return nil, refused(404, clientapi.CodeNotFound, "no such room")
}

func (f *fake) roomHub(r *http.Request, u *fakeUser) (any, error) {
	name := r.URL.Query().Get("uri")
	x := f.rooms[room.IDOf([]byte(name))]
	if x == nil {
		return nil, refused(404, clientapi.CodeNotFound, "nobody says that it orders it")
	}
	return &clientapi.FoundRoom{URI: name, Hubs: []clientapi.RoomHub{{Provider: x.state.Hub().Domain, Term: x.state.At().Term.String()}}}, nil
}

func (f *fake) log(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.roomOf(r)
	if err != nil {
		return nil, err
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("from"))
	out := &clientapi.Log{Entries: [][]byte{}}
	for i := from; i < len(x.entries) && i < from+cmp.Or(f.piece, 2); i++ { // small pieces
		out.Entries = append(out.Entries, x.entries[i].Append(nil))
		out.Head = x.heads[i].Append(nil)
	}
	return out, nil
}

func (f *fake) message(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.roomOf(r)
	if err != nil {
		return nil, err
	}
	n, err := body[clientapi.SubmitMessage](r)
	if err != nil {
		return nil, err
	}
	txn := room.TxnIDOf(room.TxnNonce(n.Nonce), n.Request)
	if x.txns[txn] != nil {
		return &clientapi.SubmittedMessage{Response: x.txns[txn]}, nil
	}
	req, err := wire.ParseSubmitMessageRequest(n.Request, wire.Limits{})
	if err != nil {
		return nil, err
	}
	if string(req.SendingURI) != u.uri {
		return nil, fmt.Errorf("message of %s by %s", req.SendingURI, u.uri)
	}
	who, _ := uri.ParseUser(u.uri)
	resp := &wire.SubmitMessageResponse{Code: wire.SubmitNotAllowed}
	if m, err := x.state.AdmitMessage(req, who.Provider().Domain()); err == nil {
		e := x.state.NewEntry(room.KindMessage, txn, nil, f.now())
		by, err := room.NewFranker(x.key)
		if err != nil {
			return nil, err
		}
		if err := by.Frank(m, x.state.URI(), req.SendingURI, e.AcceptedAt, room.TxnNonce(n.Nonce)); err != nil {
			return nil, err
		}
		if f.spoil != nil {
			f.spoil(m)
		}
		if e.Body, err = m.Bytes(); err != nil {
			return nil, err
		}
		st, err := x.state.Check(e)
		switch {
		case errors.Is(err, room.ErrEnded): // not allowed
		case err != nil:
			return nil, err
		default:
			if err := x.state.Advance(st); err != nil {
				return nil, err
			}
			resp = &wire.SubmitMessageResponse{Code: wire.SubmitAccepted, AcceptedAt: e.AcceptedAt}
			f.order(x, e)
		}
	} else if errors.Is(err, room.ErrEpoch) {
		resp = &wire.SubmitMessageResponse{Code: wire.SubmitEpochTooOld, CurrentEpoch: x.state.Epoch()}
	}
	b, err := resp.Bytes()
	if resp.Code == wire.SubmitAccepted {
		x.txns[txn] = b
	}
	return &clientapi.SubmittedMessage{Response: b}, err
}

func (f *fake) update(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.roomOf(r)
	if err != nil {
		return nil, err
	}
	n, err := body[clientapi.SubmitUpdate](r)
	if err != nil {
		return nil, err
	}
	txn := room.TxnIDOf(room.TxnNonce(n.Nonce), n.Request)
	if x.txns[txn] != nil {
		return &clientapi.SubmittedUpdate{Response: x.txns[txn]}, nil
	}
	req, err := wire.ParseUpdateRequest(n.Request, wire.Limits{})
	if err != nil {
		return nil, err
	}
	if f.conflict != nil { // only a move helps
		return nil, f.moves(&req.Bundle)
	}
	resp, err := f.handshake(x, &req.Bundle, txn, u)
	if err != nil {
		return nil, err
	}
	b, err := resp.Bytes()
	if resp.Code == wire.UpdateSuccess {
		x.txns[txn] = b
	}
	return &clientapi.SubmittedUpdate{Response: b}, err
}

func (f *fake) handshake(x *fakeRoom, bundle *wire.HandshakeBundle, txn room.TxnID, u *fakeUser) (*wire.UpdateRoomResponse, error) {
	b, err := room.HandshakeOf(bundle).Bytes()
	if err != nil {
		return nil, err
	}
	e := x.state.NewEntry(room.KindHandshake, txn, b, f.now())
	st, err := x.state.Check(e)
	who, _ := uri.ParseUser(u.uri)
	if err == nil {
		err = x.state.AdmitUpdate(bundle, st, who.Provider().Domain())
	}
	switch {
	case errors.Is(err, mls.ErrWrongEpoch):
		return &wire.UpdateRoomResponse{Code: wire.UpdateWrongEpoch, CurrentEpoch: x.state.Epoch()}, nil
	case err != nil && f.complicit:
		f.order(x, e) // and its own state is left behind
		return &wire.UpdateRoomResponse{Code: wire.UpdateSuccess, AcceptedAt: e.AcceptedAt}, nil
	case err != nil:
		f.t.Logf("fake: refused: %v", err)
		return &wire.UpdateRoomResponse{Code: wire.UpdateNotAllowed, Description: err.Error()}, nil
	}
	if err := x.state.Advance(st); err != nil {
		return nil, err
	}
	if st.Commit() != nil {
		x.pending = nil
	} else {
		for _, m := range append([]*mls.Message{bundle.Message}, bundle.MoreProposals...) {
			x.pending = append(x.pending, wire.PendingProposal{Proposal: m, AcceptedAt: e.AcceptedAt})
		}
	}
	f.order(x, e)
	if c := st.Commit(); c != nil && bundle.Welcome != nil {
		at := x.state.At()
		for _, a := range room.AddedClients(c) {
			t := f.users[a.User.String()]
			f.push(t, clientapi.EventWelcome, &clientapi.Welcome{Room: x.state.ID().String(), URI: x.state.URI().String(),
				Welcome: bundle.Welcome.Append(nil), Tree: x.state.Group().Tree().Append(nil),
				At: clientapi.Position{Era: at.Term.Era, Number: at.Term.Number, Next: at.Next, Last: at.Last[:], AcceptedAt: at.AcceptedAt}})
		}
	}
	return &wire.UpdateRoomResponse{Code: wire.UpdateSuccess, AcceptedAt: e.AcceptedAt}, nil
}

func (f *fake) groupInfo(r *http.Request, u *fakeUser) (any, error) {
	x, err := f.roomOf(r)
	if err != nil {
		return nil, err
	}
	n, err := body[clientapi.FetchGroupInfo](r)
	if err != nil {
		return nil, err
	}
	req, err := wire.ParseGroupInfoRequest(n.Request, wire.Limits{})
	if err != nil {
		return nil, err
	}
	if _, err := req.Verify(f.auth, f.now()); err != nil {
		return nil, err
	}
	name := wire.IdentifierURI(x.state.URI().String())
	resp := &wire.GroupInfoResponse{Room: name, Status: wire.GroupInfoNotAuthorized}
	who, _ := uri.ParseUser(u.uri)
	err = x.state.MayEnter(who, req.Credential)
	if err != nil && len(req.JoiningCode) > 0 {
		err = x.state.MayAsk(who, req.JoiningCode, req.SignatureKey, req.GroupInfoKey, uint64(f.now().UnixMilli()))
		if fault, ok := errors.AsType[*room.LinkError](err); ok {
			code := map[room.LinkFault]clientapi.Code{room.LinkUnknown: clientapi.CodeLinkUnknown, room.LinkExpired: clientapi.CodeLinkExpired,
				room.LinkUsedUp: clientapi.CodeLinkUsed, room.LinkRevoked: clientapi.CodeLinkRevoked}[fault.Fault]
			return nil, refused(403, code, "%s", fault)
		}
	}
	if err == nil {
		tbe := &wire.GroupInfoRatchetTreeTBE{GroupInfo: x.state.GroupInfo(), Pending: x.pending,
			Tree: wire.RatchetTreeOption{Representation: wire.TreeFull, Tree: x.state.Group().Tree()}}
		ct, err := tbe.Seal(room.Suite, req.GroupInfoKey, name)
		if err != nil {
			return nil, err
		}
		key, err := mls.ParseSignatureKey(room.Suite, x.key.Seed())
		if err != nil {
			return nil, err
		}
		resp.Status = wire.GroupInfoSuccess
		resp.Success = &wire.GroupInfoSuccessPart{Suite: room.Suite, Encrypted: ct,
			HubSender: mls.ExternalSender{Credential: mls.BasicCredential([]byte("mimi://" + x.state.URI().Provider().Domain()))}}
		if err := resp.Sign(key); err != nil {
			return nil, err
		}
	}
	b, err := resp.Bytes()
	return &clientapi.FetchedGroupInfo{Response: b}, err
}

func (f *fake) ownProvider(r *http.Request, u *fakeUser) (any, error) {
	who, _ := uri.ParseUser(u.uri)
	return f.about(who.Provider().Domain()), nil
}

// evaluated evaluates with all shares.
func (f *fake) evaluated(r *http.Request, _ *fakeUser) (any, error) {
	q, err := body[clientapi.Evaluate](r)
	if err != nil {
		return nil, err
	}
	req, err := oprf.ParseRequest(q.Request)
	if err != nil {
		return nil, err
	}
	var out []clientapi.Evaluation
	for _, s := range f.shares {
		e, err := s.Evaluate(req)
		if err != nil {
			return nil, err
		}
		out = append(out, clientapi.Evaluation{Number: s.Number(), Evaluation: e.Bytes()})
	}
	if f.evaluate != nil {
		out = f.evaluate(out)
	}
	return &clientapi.Evaluated{Evaluations: out}, nil
}

// secret derives an identifier's, as the network does.
func (f *fake) secret(sii discovery.SII) (discovery.Secret, error) {
	if f.evaluators == nil {
		return discovery.Network{}.Secret(sii)
	}
	input, err := discovery.Network{}.Input(sii)
	if err != nil {
		return discovery.Secret{}, err
	}
	b, err := f.evaluators.Blind(input)
	if err != nil {
		return discovery.Secret{}, err
	}
	var vs []*oprf.Verified
	for _, s := range f.shares {
		e, err := s.Evaluate(b.Request())
		if err != nil {
			return discovery.Secret{}, err
		}
		v, err := f.evaluators.Verify(b.Request(), s.Number(), e)
		if err != nil {
			return discovery.Secret{}, err
		}
		vs = append(vs, v)
	}
	out, err := b.Finish(vs...)
	if err != nil {
		return discovery.Secret{}, err
	}
	return discovery.Network{}.Evaluated(out[0]), nil
}

func (f *fake) publishClaim(r *http.Request, u *fakeUser) (any, error) {
	n, err := body[clientapi.NewClaim](r)
	if err != nil {
		return nil, err
	}
	sii, err := discovery.ParseSII(n.SII)
	if err != nil {
		return nil, err
	}
	secret, err := f.secret(sii)
	if err != nil {
		return nil, err
	}
	claim, err := discovery.ParseClaim(n.Claim)
	if err != nil {
		return nil, err
	}
	who, _ := uri.ParseUser(u.uri)
	v, err := claim.Endorse(f.keys[who.Provider().Domain()], secret, f.anchors, f.now())
	if err != nil {
		return nil, err
	}
	f.claims = append(f.claims, &clientapi.Found{User: u.uri, Provider: who.Provider().Domain(), Claim: v.Claim().Bytes()})
	return &clientapi.Claim{SII: n.SII, Claim: v.Claim().Bytes()}, nil
}

func (f *fake) withdrawClaim(r *http.Request, u *fakeUser) (any, error) {
	_, err := body[clientapi.WithdrawClaim](r)
	f.claims = slices.DeleteFunc(f.claims, func(x *clientapi.Found) bool { return x.User == u.uri })
	return nil, err
}

func (f *fake) discover(r *http.Request, u *fakeUser) (any, error) {
	q, err := body[clientapi.Discover](r)
	if err != nil {
		return nil, err
	}
	f.discovered = *q
	out := &clientapi.Discovered{Asked: 2}
	if q.Privacy != nil && !f.forgetful {
		out.Over = q.Privacy.Over
	}
	for _, x := range f.claims {
		out.Found = append(out.Found, *x)
	}
	return out, nil
}
