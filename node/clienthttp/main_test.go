package clienthttp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

const token = "good-token"

// room is the id of the only room there is.
var room = store.RoomID{1, 2, 3}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func notFound() error {
	return &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "there is no such thing"}
}

// fake is all services. It is strict: it fails the test if it is called by somebody
// else than alice's phone, or with what the handlers should have refused.
type fake struct {
	t testing.TB

	mu      sync.Mutex
	calls   []string
	removed bool
	fail    error         // of every call
	panics  bool          // in every call
	wait    chan struct{} // every call waits until it is closed or its context ends
	got     any           // last request
	streams []*fakeStream
	events  [][]byte // what every stream begins with
	openErr error
	// appended is what came of assets.
	appended []byte
}

func alice(t testing.TB) account.Identity {
	t.Helper()
	user, err := uri.ParseUser("mimi://atlanta.example/u/alice")
	must(t, err)
	client, err := uri.ParseClient("mimi://atlanta.example/d/alice/phone")
	must(t, err)
	return account.Identity{User: user, Client: client, Device: "phone"}
}

func (f *fake) call(ctx context.Context, name string, who *account.Identity, in any) error {
	f.mu.Lock()
	f.calls = append(f.calls, name)
	f.got = in
	fail, panics, wait := f.fail, f.panics, f.wait
	f.mu.Unlock()
	if who != nil && *who != alice(f.t) {
		f.t.Errorf("%s was called by %v", name, who.Client)
	}
	if panics {
		panic("planted")
	}
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("waiting: %w", ctx.Err())
		}
	}
	return fail
}

func (f *fake) Authenticate(_ context.Context, tok string) (account.Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if tok != token || f.removed {
		return account.Identity{}, &clientapi.Problem{Status: 401, Code: clientapi.CodeUnauthorized, Detail: "no such token"}
	}
	return alice(f.t), nil
}

func (f *fake) Register(ctx context.Context, n *clientapi.NewAccount) (*clientapi.Account, error) {
	return &clientapi.Account{User: "u", Client: "c", Token: "t", Certificate: []byte{1}}, f.call(ctx, "Register", nil, n)
}
func (f *fake) RenewCertificate(ctx context.Context, who account.Identity) (*clientapi.Certificate, error) {
	return &clientapi.Certificate{Certificate: []byte{1}}, f.call(ctx, "RenewCertificate", &who, nil)
}
func (f *fake) Devices(ctx context.Context, who account.Identity) (*clientapi.Devices, error) {
	return &clientapi.Devices{}, f.call(ctx, "Devices", &who, nil)
}
func (f *fake) RemoveDevice(ctx context.Context, who account.Identity, device string) error {
	if device != "phone" {
		return notFound()
	}
	if err := f.call(ctx, "RemoveDevice", &who, device); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = true
	return nil
}
func (f *fake) PublishKeyPackages(ctx context.Context, who account.Identity, n *clientapi.NewKeyPackages) (*clientapi.KeyPackageCount, error) {
	return &clientapi.KeyPackageCount{Available: len(n.KeyPackages)}, f.call(ctx, "PublishKeyPackages", &who, n)
}
func (f *fake) CountKeyPackages(ctx context.Context, who account.Identity) (*clientapi.KeyPackageCount, error) {
	return &clientapi.KeyPackageCount{Available: 7}, f.call(ctx, "CountKeyPackages", &who, nil)
}
func (f *fake) Self(ctx context.Context) (*clientapi.Provider, error) {
	return &clientapi.Provider{Domain: "atlanta.example"}, f.call(ctx, "Self", nil, nil)
}
func (f *fake) Provider(ctx context.Context, domain string) (*clientapi.Provider, error) {
	return &clientapi.Provider{Domain: domain}, f.call(ctx, "Provider", nil, domain)
}
func (f *fake) ClaimKeyPackages(ctx context.Context, who account.Identity, c *clientapi.ClaimKeyPackages) (*clientapi.ClaimedKeyPackages, error) {
	return &clientapi.ClaimedKeyPackages{Response: []byte{1}}, f.call(ctx, "ClaimKeyPackages", &who, c)
}
func (f *fake) Pseudonym(ctx context.Context, who account.Identity, q *clientapi.NewPseudonym) (*clientapi.Pseudonym, error) {
	return &clientapi.Pseudonym{Pseudonym: "p"}, f.call(ctx, "Pseudonym", &who, q)
}
func (f *fake) Wanted(ctx context.Context, who account.Identity) (*clientapi.WantedPseudonyms, error) {
	return &clientapi.WantedPseudonyms{Pseudonyms: []string{}}, f.call(ctx, "Wanted", &who, nil)
}
func (f *fake) Held(ctx context.Context, who account.Identity, x *clientapi.HeldPseudonym) error {
	return f.call(ctx, "Held", &who, x)
}
func (f *fake) Bring(ctx context.Context, who account.Identity, n *clientapi.PseudonymousKeyPackages) error {
	return f.call(ctx, "Bring", &who, n)
}
func (f *fake) SendConsent(ctx context.Context, who account.Identity, c *clientapi.SendConsent) error {
	return f.call(ctx, "SendConsent", &who, c)
}
func (f *fake) ConsentModes(ctx context.Context, who account.Identity) (*clientapi.ConsentModes, error) {
	return &clientapi.ConsentModes{Mode: "ask"}, f.call(ctx, "ConsentModes", &who, nil)
}
func (f *fake) SetConsentModes(ctx context.Context, who account.Identity, m *clientapi.ConsentModes) (*clientapi.ConsentModes, error) {
	return m, f.call(ctx, "SetConsentModes", &who, m)
}
func (f *fake) Quarantine(ctx context.Context, who account.Identity) (*clientapi.Quarantine, error) {
	return &clientapi.Quarantine{}, f.call(ctx, "Quarantine", &who, nil)
}
func (f *fake) Judged(ctx context.Context, who account.Identity, id store.RoomID, j *clientapi.JudgeHeld) error {
	return f.call(ctx, "Judged", &who, j)
}
func (f *fake) Consents(ctx context.Context, who account.Identity) (*clientapi.Consents, error) {
	return &clientapi.Consents{}, f.call(ctx, "Consents", &who, nil)
}
func (f *fake) PublishClaim(ctx context.Context, who account.Identity, n *clientapi.NewClaim) (*clientapi.Claim, error) {
	return &clientapi.Claim{SII: n.SII}, f.call(ctx, "PublishClaim", &who, n)
}
func (f *fake) Claims(ctx context.Context, who account.Identity) (*clientapi.Claims, error) {
	return &clientapi.Claims{}, f.call(ctx, "Claims", &who, nil)
}
func (f *fake) WithdrawClaim(ctx context.Context, who account.Identity, w *clientapi.WithdrawClaim) error {
	return f.call(ctx, "WithdrawClaim", &who, w)
}
func (f *fake) Evaluate(ctx context.Context, who account.Identity, q *clientapi.Evaluate) (*clientapi.Evaluated, error) {
	return &clientapi.Evaluated{}, f.call(ctx, "Evaluate", &who, q)
}
func (f *fake) Keys(ctx context.Context, gateway string, anew bool) ([]byte, error) {
	return []byte{1}, f.call(ctx, "Keys", nil, &clientapi.ObliviousKeys{Gateway: gateway, Anew: anew})
}
func (f *fake) Pass(ctx context.Context, gateway string, sealed []byte) ([]byte, error) {
	return []byte{2}, f.call(ctx, "Pass", nil, &clientapi.ObliviousRequest{Gateway: gateway, Sealed: sealed})
}
func (f *fake) SetFindable(ctx context.Context, who account.Identity, q *clientapi.Findable) (*clientapi.Findable, error) {
	return &clientapi.Findable{Mode: clientapi.FindExact}, f.call(ctx, "SetFindable", &who, q)
}
func (f *fake) Findable(ctx context.Context, who account.Identity) (*clientapi.Findable, error) {
	return &clientapi.Findable{Mode: clientapi.FindExact}, f.call(ctx, "Findable", &who, nil)
}
func (f *fake) Verify(ctx context.Context, who account.Identity, q *clientapi.NewVerification) error {
	return f.call(ctx, "Verify", &who, q)
}
func (f *fake) AnswerVerification(ctx context.Context, who account.Identity, q *clientapi.VerificationAnswer) (*clientapi.Verified, error) {
	return &clientapi.Verified{}, f.call(ctx, "AnswerVerification", &who, q)
}
func (f *fake) Discover(ctx context.Context, who account.Identity, d *clientapi.Discover) (*clientapi.Discovered, error) {
	return &clientapi.Discovered{}, f.call(ctx, "Discover", &who, d)
}
func (f *fake) Rooms(ctx context.Context, who account.Identity) (*clientapi.Rooms, error) {
	return &clientapi.Rooms{}, f.call(ctx, "Rooms", &who, nil)
}
func (f *fake) FindRoom(ctx context.Context, who account.Identity, u uri.Room) (*clientapi.FoundRoom, error) {
	return &clientapi.FoundRoom{URI: u.String()}, f.call(ctx, "FindRoom", &who, nil)
}
func (f *fake) OpenPairing(ctx context.Context, who account.Identity, n *clientapi.NewPairing) (*clientapi.Pairing, error) {
	return &clientapi.Pairing{Invite: "i", Expires: 1}, f.call(ctx, "OpenPairing", &who, n)
}

// named checks that the box of a path is that of the examples.
func (f *fake) named(box string) string {
	if box != boxName {
		f.t.Errorf("box %q", box)
	}
	return box
}

func (f *fake) PairingHello(ctx context.Context, who account.Identity, box string) (*clientapi.PairingHello, error) {
	return &clientapi.PairingHello{Hello: []byte{1}}, f.call(ctx, "PairingHello", &who, f.named(box))
}

func (f *fake) AnswerPairing(ctx context.Context, who account.Identity, box string, a *clientapi.PairingAnswer) error {
	f.named(box)
	return f.call(ctx, "AnswerPairing", &who, a)
}

func (f *fake) ClosePairing(ctx context.Context, who account.Identity, box string) error {
	return f.call(ctx, "ClosePairing", &who, f.named(box))
}

func (f *fake) SayHello(ctx context.Context, box string, h *clientapi.PairingHello) (*clientapi.PairingAnswer, error) {
	f.named(box)
	return &clientapi.PairingAnswer{Answer: []byte{1}}, f.call(ctx, "SayHello", nil, h)
}

func (f *fake) SendKnock(ctx context.Context, who account.Identity, k *clientapi.SendKnock) (*clientapi.Knock, error) {
	return &clientapi.Knock{Room: "mimi://atlanta.example/r/club", State: clientapi.KnockWaiting}, f.call(ctx, "SendKnock", &who, k)
}

func (f *fake) Knocks(ctx context.Context, who account.Identity) (*clientapi.Knocks, error) {
	return &clientapi.Knocks{Knocks: []clientapi.Knock{}}, f.call(ctx, "Knocks", &who, nil)
}

func (f *fake) RoomKnocks(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Knocks, error) {
	return &clientapi.Knocks{Knocks: []clientapi.Knock{}}, f.call(ctx, "RoomKnocks", &who, nil)
}

func (f *fake) RefuseKnock(ctx context.Context, who account.Identity, id store.RoomID, r *clientapi.RefuseKnock) error {
	return f.call(ctx, "RefuseKnock", &who, r)
}

func (f *fake) TokenKeys(ctx context.Context, who account.Identity) (*clientapi.TokenKeys, error) {
	return &clientapi.TokenKeys{Left: 5}, f.call(ctx, "TokenKeys", &who, nil)
}

func (f *fake) Privacy(ctx context.Context, who account.Identity, _ string) (*clientapi.PrivacyReport, error) {
	return &clientapi.PrivacyReport{}, f.call(ctx, "Privacy", &who, nil)
}

func (f *fake) Introduce(ctx context.Context, n *clientapi.Introduce) (*clientapi.Introduced, error) {
	return &clientapi.Introduced{}, f.call(ctx, "Introduce", nil, n)
}

func (f *fake) Introductions(ctx context.Context, who account.Identity) (*clientapi.Introductions, error) {
	return &clientapi.Introductions{Introductions: []clientapi.Introduction{}}, f.call(ctx, "Introductions", &who, nil)
}

func (f *fake) JudgeIntroduction(ctx context.Context, who account.Identity, j *clientapi.JudgeIntroduction) error {
	return f.call(ctx, "JudgeIntroduction", &who, j)
}

func (f *fake) NewTokens(ctx context.Context, who account.Identity, n *clientapi.NewTokens) (*clientapi.Tokens, error) {
	return &clientapi.Tokens{Responses: [][]byte{{1}}}, f.call(ctx, "NewTokens", &who, n)
}

func (f *fake) Recruit(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Recruit, error) {
	if id != room {
		return nil, fmt.Errorf("recruiting: %w", notFound())
	}
	return &clientapi.Recruit{Provider: "chicago.example"}, f.call(ctx, "Recruit", &who, nil)
}
func (f *fake) Room(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Room, error) {
	if id != room {
		return nil, fmt.Errorf("reading room: %w", notFound())
	}
	return &clientapi.Room{ID: fmt.Sprintf("%x", id[:])}, f.call(ctx, "Room", &who, nil)
}
func (f *fake) Log(ctx context.Context, who account.Identity, id store.RoomID, from uint64, limit int) (*clientapi.Log, error) {
	if limit < 1 || limit > clienthttp.MaxLog {
		f.t.Errorf("limit %d reached the service", limit)
	}
	if id != room {
		return nil, notFound()
	}
	return &clientapi.Log{}, f.call(ctx, "Log", &who, fmt.Sprintf("%d+%d", from, limit))
}
func (f *fake) Branch(ctx context.Context, who account.Identity, id store.RoomID, from uint64, limit int) (*clientapi.Log, error) {
	if id != room {
		return nil, notFound()
	}
	return &clientapi.Log{}, f.call(ctx, "Branch", &who, fmt.Sprintf("%d+%d", from, limit))
}
func (f *fake) Rejoin(ctx context.Context, who account.Identity, id store.RoomID) (*clientapi.Parting, error) {
	if id != room {
		return nil, notFound()
	}
	return &clientapi.Parting{From: 1, End: 2}, f.call(ctx, "Rejoin", &who, nil)
}
func (f *fake) CreateRoom(ctx context.Context, who account.Identity, n *clientapi.NewRoom) (*clientapi.Submitted, error) {
	f.nonce(n.Nonce)
	return &clientapi.Submitted{Seq: 1}, f.call(ctx, "CreateRoom", &who, n)
}
func (f *fake) SubmitMessage(ctx context.Context, who account.Identity, id store.RoomID, m *clientapi.SubmitMessage) (*clientapi.SubmittedMessage, error) {
	f.nonce(m.Nonce)
	if id != room {
		return nil, notFound()
	}
	return &clientapi.SubmittedMessage{Response: []byte{1}}, f.call(ctx, "SubmitMessage", &who, m)
}
func (f *fake) Signal(ctx context.Context, who account.Identity, id store.RoomID, x *clientapi.NewEphemeral) error {
	if id != room {
		return notFound()
	}
	return f.call(ctx, "Signal", &who, x)
}
func (f *fake) SubmitUpdate(ctx context.Context, who account.Identity, id store.RoomID, u *clientapi.SubmitUpdate) (*clientapi.SubmittedUpdate, error) {
	f.nonce(u.Nonce)
	if id != room {
		return nil, notFound()
	}
	return &clientapi.SubmittedUpdate{Response: []byte{1}}, f.call(ctx, "SubmitUpdate", &who, u)
}
func (f *fake) FetchGroupInfo(ctx context.Context, who account.Identity, id store.RoomID, g *clientapi.FetchGroupInfo) (*clientapi.FetchedGroupInfo, error) {
	if id != room {
		return nil, notFound()
	}
	return &clientapi.FetchedGroupInfo{Response: []byte{1}}, f.call(ctx, "FetchGroupInfo", &who, g)
}
func (f *fake) Download(w http.ResponseWriter, req *http.Request, who account.Identity, id store.RoomID, url string) error {
	if id != room {
		return notFound()
	}
	if url == "" || len(url) > 2048 {
		f.t.Errorf("a URL of %d octets reached the service", len(url))
	}
	if err := f.call(req.Context(), "Download", &who, url); err != nil {
		return err
	}
	// The real one sets the deadlines of what it writes.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil && req.ProtoMajor != 0 && req.RemoteAddr != "192.0.2.1:1234" {
		f.t.Errorf("a download's deadline cannot be set: %v", err)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, req, "", time.Time{}, strings.NewReader(content))
	return nil
}

// content is what every asset is.
const content = "an asset's octets"

var assetHash = strings.Repeat("0a", 32)

// fakeAssets is strict about offsets, and reads what comes to its end.
type fakeAssets struct{ f *fake }

func (a fakeAssets) Begin(ctx context.Context, who account.Identity, n *clientapi.NewAsset) (*clientapi.Asset, error) {
	return &clientapi.Asset{Hash: n.Hash, Size: n.Size}, a.f.call(ctx, "Begin", &who, n)
}

func (a fakeAssets) Append(ctx context.Context, who account.Identity, hash string, offset int64, body io.Reader) (*clientapi.Asset, error) {
	if hash != assetHash {
		return nil, notFound()
	}
	if offset < 0 {
		a.f.t.Errorf("offset %d reached the service", offset)
	}
	b, err := io.ReadAll(body)
	a.f.mu.Lock()
	a.f.appended = append(a.f.appended, b...)
	a.f.mu.Unlock()
	if err != nil {
		return nil, &clientapi.Problem{Status: 408, Code: clientapi.CodeUnreachable, Detail: "broken off"}
	}
	return &clientapi.Asset{Hash: hash, Offset: offset + int64(len(b))}, a.f.call(ctx, "Append", &who, nil)
}

func (a fakeAssets) Asset(ctx context.Context, who account.Identity, hash string) (*clientapi.Asset, error) {
	return &clientapi.Asset{Hash: hash}, a.f.call(ctx, "Asset", &who, nil)
}

func (a fakeAssets) Assets(ctx context.Context, who account.Identity) (*clientapi.Assets, error) {
	return &clientapi.Assets{}, a.f.call(ctx, "Assets", &who, nil)
}

func (a fakeAssets) Remove(ctx context.Context, who account.Identity, hash string) error {
	return a.f.call(ctx, "Remove", &who, nil)
}

func (f *fake) ReportAbuse(ctx context.Context, who account.Identity, id store.RoomID, a *clientapi.ReportAbuse) error {
	f.nonce(a.Nonce)
	if id != room {
		return notFound()
	}
	return f.call(ctx, "ReportAbuse", &who, a)
}
func (f *fake) nonce(n []byte) {
	if len(n) != 16 {
		f.t.Errorf("a nonce of %d octets reached the service", len(n))
	}
}

// fakeStream has what it began with, and then what is sent. It fails the test if it
// is used by two at once, or after its Close.
type fakeStream struct {
	f      *fake
	cursor string
	first  [][]byte
	more   chan [][]byte

	mu     sync.Mutex
	busy   bool
	closed bool
	asked  int
}

func (f *fake) Open(_ context.Context, who account.Identity, cursor string) (clienthttp.Stream, error) {
	if who != alice(f.t) {
		f.t.Errorf("a stream for %v", who.Client)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.openErr != nil {
		return nil, f.openErr
	}
	s := &fakeStream{f: f, cursor: cursor, more: make(chan [][]byte)}
	resumed := cursor == ""
	for _, e := range f.events {
		if resumed {
			s.first = append(s.first, e)
		}
		if bytes.HasPrefix(e, []byte("id: "+cursor+"\n")) {
			resumed = true
		}
	}
	hello, err := clienthttp.Frame("", clientapi.EventHello, clientapi.Hello{Client: who.Client.String(), Cursor: cursor, Resumed: cursor != "" && resumed})
	if err != nil {
		return nil, err
	}
	s.first = append([][]byte{hello}, s.first...)
	f.streams = append(f.streams, s)
	return s, nil
}

func (s *fakeStream) enter(in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in && (s.busy || s.closed) {
		s.f.t.Errorf("stream used while busy %t, closed %t", s.busy, s.closed)
	}
	if in {
		s.asked++
	}
	s.busy = in
}

func (s *fakeStream) Next(ctx context.Context) ([][]byte, error) {
	s.enter(true)
	defer s.enter(false)
	if first := s.first; first != nil {
		s.first = nil
		return first, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case f, ok := <-s.more:
		if !ok {
			return nil, errors.New("planted: the feed has failed")
		}
		return f, nil
	}
}

func (s *fakeStream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.f.t.Error("stream closed twice")
	}
	s.closed = true
}

func (s *fakeStream) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (f *fake) services() clienthttp.Services {
	return clienthttp.Services{Accounts: f, KeyPackages: f, Pseudonyms: f, Providers: f, Contacts: f, Claims: f, Evaluations: f, Verifications: f, Rooms: f, Finder: f, Recruits: f, Knocks: f, Introductions: f, Privacy: f, Pairings: f, Signals: f, Submissions: f, Streams: f, Assets: fakeAssets{f}, Downloads: f, Oblivious: f}
}

// site is a running server.
type site struct {
	*clienthttp.Server
	f    *fake
	url  string
	http *http.Client
	log  *logBuffer
	stop func() // waits for Run
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func serve(t testing.TB, change ...func(*clienthttp.Config)) *site {
	t.Helper()
	f := &fake{t: t}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	log := &logBuffer{}
	cfg := clienthttp.Config{Services: f.services(), Listener: l,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := clienthttp.New(cfg)
	must(t, err)
	runCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(runCtx) }()
	tr := &http.Transport{}
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		tr.CloseIdleConnections()
	})
	t.Cleanup(stop)
	return &site{Server: s, f: f, url: "http://" + l.Addr().String(), http: &http.Client{Transport: tr}, log: log, stop: stop}
}

// do calls with the token, unless header says otherwise.
func (s *site) do(method, path string, body any, header ...string) *http.Response {
	s.f.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		must(s.f.t, err)
		r = bytes.NewReader(j)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, r)
	must(s.f.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		if req.Header.Del(header[i]); header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := s.http.Do(req)
	must(s.f.t, err)
	return res
}

func (s *site) body(res *http.Response) []byte {
	s.f.t.Helper()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(s.f.t, err)
	return b
}

// wantProblem reads an answer that must be this problem.
func (s *site) wantProblem(res *http.Response, status int, code clientapi.Code) *clientapi.Problem {
	s.f.t.Helper()
	b := s.body(res)
	p := &clientapi.Problem{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		s.f.t.Errorf("status %d, body %q: %v", res.StatusCode, b, err)
		return p
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
		s.f.t.Errorf("content type %q", ct)
	}
	if res.StatusCode != status || p.Status != status || p.Code != code || p.Detail == "" {
		s.f.t.Errorf("status %d, problem %+v, want status %d and code %s", res.StatusCode, p, status, code)
	}
	if strings.Contains(string(b), "goroutine ") || strings.Contains(string(b), ".go:") {
		s.f.t.Errorf("the answer shows code: %s", b)
	}
	if res.Header.Get("X-Request-Id") == "" {
		s.f.t.Error("no request id")
	}
	return p
}

// eventually waits for what other goroutines are about to do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain: %s", what)
}
