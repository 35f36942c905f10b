package node_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// crashDevice is a user's client with no more than a token and MLS groups: it
// submits, and keeps what it has submitted. No part of package client helps it.
type crashDevice struct {
	w     *crashWorld
	at    *crashNode
	http  *http.Client
	token string
	user  uri.User
	about clientapi.Provider
	leaf  mls.LeafParams
	kp    *mls.PrivateKeyPackage

	mu    sync.Mutex
	group *mls.Group // guarded by mu
}

func (w *crashWorld) device(at *crashNode, name string) *crashDevice {
	t := w.t
	t.Helper()
	d := &crashDevice{w: w, at: at, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}, Timeout: 15 * time.Second}}
	t.Cleanup(d.http.CloseIdleConnections)
	var inv *admin.Invite
	err := at.operator(func(a *admin.Client) (err error) {
		inv, err = a.CreateInvite(context.Background(), admin.NewInvite{Name: name})
		return err
	})
	if err == nil {
		err = d.call("GET", "/v1/provider", nil, &d.about)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.keys[at.domain] = []crypto.PublicKey{ed25519.PublicKey(d.about.Key)}
	w.mu.Unlock()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	req := &clientapi.NewAccount{Invite: inv.Code, Device: "phone", UserKey: pub}
	req.Proof = ed25519.Sign(priv, req.ProofTBS(at.domain))
	var got clientapi.Account
	if err := d.call("POST", "/v1/accounts", req, &got); err != nil {
		t.Fatal(err)
	}
	d.token = got.Token
	d.user = crashMust(uri.ParseUser(got.User))(t)
	sign := crashMust(mls.GenerateSignatureKey(room.Suite))(t)
	leaf := crashMust(x509auth.IssueClient(priv, got.Certificate, got.Client, sign.Public(), x509auth.ValidFor(time.Now(), x509auth.Lifetime)))(t)
	d.leaf = mls.LeafParams{Suite: room.Suite, Signer: sign, Credential: mls.X509Credential(leaf, got.Certificate),
		Lifetime: mls.LifetimeOf(time.Now(), 30*24*time.Hour)}
	return d
}

func crashMust[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// call makes one request. An error that is no *clientapi.Problem says nothing
// about what has happened.
func (d *crashDevice) call(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, d.at.clients+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+d.token)
	res, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		p := &clientapi.Problem{}
		if err := json.NewDecoder(res.Body).Decode(p); err != nil {
			return err
		}
		return p
	}
	return json.NewDecoder(res.Body).Decode(out)
}

func (d *crashDevice) config() mls.Config { return room.Config(d.w.auth) }

// create makes a room at the device's provider.
func (d *crashDevice) create(name string) room.ID {
	t := d.w.t
	t.Helper()
	nonce := room.NewTxnNonce()
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin, Topic: nonce,
		Hub: room.Replica{Domain: d.at.domain, FrankingKey: d.about.FrankingKey}}
	copy(h.Hub.ProviderKey[:], d.about.Key)
	h.Replicas = []room.Replica{h.Hub}
	r := crashMust(uri.ParseRoom("mimi://" + d.at.domain + "/r/" + name + strings.Repeat("x", 20)))(t)
	g := crashMust(mls.CreateGroup(mls.GroupParams{LeafParams: d.leaf, GroupID: crashMust(room.GroupID(r))(t),
		Extensions: crashMust(room.Extensions(d.user, h, nil))(t)}, d.config()))(t)
	n := &clientapi.NewRoom{URI: r.String(), GroupInfo: crashMust(g.GroupInfo(false))(t).Bytes(), Tree: g.Public().Tree().Bytes(), Nonce: nonce[:]}
	var out clientapi.Submitted
	if err := d.call("POST", "/v1/rooms", n, &out); err != nil {
		t.Fatal(err)
	}
	d.mu.Lock()
	d.group = g
	d.mu.Unlock()
	return room.IDOf([]byte(r.String()))
}

// crashSubmission is something that was submitted, and what is known of it.
type crashSubmission struct {
	by       *crashDevice
	room     room.ID
	nonce    room.TxnNonce
	raw      []byte
	txn      room.TxnID
	update   *mls.StagedCommit // of a commit
	accepted uint64            // when, if it was answered so
	refused  *clientapi.Problem
}

// addition is the commit that adds another device.
func (d *crashDevice) addition(id room.ID, other *crashDevice) *crashSubmission {
	t := d.w.t
	t.Helper()
	other.kp = crashMust(mls.NewKeyPackage(other.leaf, false, nil))(t)
	o := mls.CommitOptions{Add: []*mls.ValidKeyPackage{crashMust(other.kp.KeyPackage().Verify(d.config(), time.Now()))(t)}}
	d.mu.Lock()
	defer d.mu.Unlock()
	p := crashMust(room.UpdateParticipants(d.group.Public().Context(), []room.Participant{{User: other.user, Role: policy.Member}}, nil))(t)
	o.Proposals = append(o.Proposals, p)
	s := crashMust(d.group.Commit(o, time.Now()))(t)
	raw := crashMust((&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, Welcome: s.Welcome, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes())(t)
	n := room.NewTxnNonce()
	return &crashSubmission{by: d, room: id, nonce: n, raw: raw, txn: room.TxnIDOf(n, raw), update: s}
}

// message encrypts a message.
func (d *crashDevice) message(id room.ID, text string) (*crashSubmission, error) {
	d.mu.Lock()
	m, err := d.group.Encrypt([]byte(text), mls.SendOptions{AAD: wire.NewFrankAAD([]byte("salt"), []byte(text)).SafeAAD()})
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	raw, err := (&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(d.user.String())}).Bytes()
	if err != nil {
		return nil, err
	}
	n := room.NewTxnNonce()
	return &crashSubmission{by: d, room: id, nonce: n, raw: raw, txn: room.TxnIDOf(n, raw)}, nil
}

// submit makes the request once and notes the answer.
func (s *crashSubmission) submit() error {
	s.refused = nil
	err := s.post()
	if p := (*clientapi.Problem)(nil); errors.As(err, &p) {
		s.refused = p
	}
	return err
}

func (s *crashSubmission) post() error {
	path := "/v1/rooms/" + s.room.String()
	if s.update == nil {
		var got clientapi.SubmittedMessage
		if err := s.by.call("POST", path+"/messages", &clientapi.SubmitMessage{Request: s.raw, Nonce: s.nonce[:]}, &got); err != nil {
			return err
		}
		res, err := wire.ParseSubmitMessageResponse(got.Response, wire.Limits{})
		if err == nil && res.Code != wire.SubmitAccepted {
			err = fmt.Errorf("message: %v", res.Code)
		}
		if err == nil {
			s.accepted = res.AcceptedAt
		}
		return err
	}
	var got clientapi.SubmittedUpdate
	if err := s.by.call("POST", path+"/updates", &clientapi.SubmitUpdate{Request: s.raw, Nonce: s.nonce[:]}, &got); err != nil {
		return err
	}
	res, err := wire.ParseUpdateRoomResponse(got.Response, wire.Limits{})
	if err == nil && res.Code != wire.UpdateSuccess {
		err = fmt.Errorf("update: %v %s", res.Code, res.Description)
	}
	if err == nil {
		s.accepted = res.AcceptedAt
	}
	return err
}

// insist submits again and again, with the same nonce, until it is accepted.
func (s *crashSubmission) insist() {
	t := s.by.w.t
	t.Helper()
	var err error
	for range 750 {
		if err = s.submit(); err == nil {
			return
		}
		if s.refused != nil && s.refused.Status < 500 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s submits again: %v", s.by.user, err)
}

// entries reads the room's log as the device's provider has it.
func (d *crashDevice) entries(id room.ID) (out []*room.Entry) {
	t := d.w.t
	t.Helper()
	for {
		var l clientapi.Log
		if err := d.call("GET", fmt.Sprintf("/v1/rooms/%s/log?from=%d&limit=500", id, len(out)), nil, &l); err != nil {
			t.Fatal(err)
		}
		if len(l.Entries) == 0 {
			return out
		}
		for _, b := range l.Entries {
			e := crashMust(room.ParseEntry(b))(t)
			if e.Seq != uint64(len(out)) {
				t.Fatalf("entry %d where %d should be", e.Seq, len(out))
			}
			out = append(out, e)
		}
	}
}

// crashStream is a device's stream: it comes back with the last cursor whenever it
// is cut, and notes what it hears.
type crashStream struct {
	d   *crashDevice
	end func()

	mu       sync.Mutex
	cursor   string                         // guarded by mu, as the rest
	first    map[string]uint64              // by room: the first entry heard
	next     map[string]uint64              // by room: the entry that must come next
	welcomes map[string][]clientapi.Welcome // by room
	opened   int
	faults   []string
}

// listen opens the stream; it hears until the test or end ends it.
func (d *crashDevice) listen() *crashStream {
	s := &crashStream{d: d, first: map[string]uint64{}, next: map[string]uint64{}, welcomes: map[string][]clientapi.Welcome{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			s.once(ctx)
			time.Sleep(10 * time.Millisecond)
		}
	}()
	s.end = sync.OnceFunc(func() { cancel(); <-done })
	d.w.t.Cleanup(s.end)
	return s
}

// once hears one connection to its end. Only an event that has come whole counts.
func (s *crashStream) once(ctx context.Context) {
	s.mu.Lock()
	cursor := s.cursor
	s.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, "GET", s.d.at.clients+"/v1/events?cursor="+url.QueryEscape(cursor), nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+s.d.token)
	res, err := s.d.http.Transport.RoundTrip(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		return
	}
	s.mu.Lock()
	s.opened++
	s.mu.Unlock()
	r := bufio.NewReader(res.Body)
	var id, event, data string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		k, v, _ := strings.Cut(line, ": ")
		switch k {
		case "id":
			id = v
		case "event":
			event = v
		case "data":
			data = v
		case "":
			s.take(cursor, id, event, data)
			id, event, data = "", "", ""
		}
	}
}

func (s *crashStream) take(opened, id, event, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault := func(format string, args ...any) { s.faults = append(s.faults, fmt.Sprintf(format, args...)) }
	switch event {
	case clientapi.EventHello:
		var h clientapi.Hello
		if err := json.Unmarshal([]byte(data), &h); err != nil || h.Resumed != (opened != "") || opened != "" && h.Cursor != opened {
			fault("hello %s behind cursor %q: %v", data, opened, err)
		}
	case clientapi.EventWelcome:
		var w clientapi.Welcome
		if err := json.Unmarshal([]byte(data), &w); err != nil {
			fault("welcome: %v", err)
		}
		s.welcomes[w.Room] = append(s.welcomes[w.Room], w)
	case clientapi.EventEntries:
		var es clientapi.Entries
		if err := json.Unmarshal([]byte(data), &es); err != nil || id == "" {
			fault("entries with id %q: %v", id, err)
		}
		for _, b := range es.Entries {
			e, err := room.ParseEntry(b)
			if err != nil {
				fault("entry: %v", err)
				continue
			}
			// A user hears a room from the batch on in which it joined.
			if next, ok := s.next[es.Room]; ok && e.Seq != next {
				fault("entry %d, where %d should come", e.Seq, next)
			} else if !ok {
				s.first[es.Room] = e.Seq
			}
			s.next[es.Room] = e.Seq + 1
		}
	}
	if id != "" {
		s.cursor = id
	}
}

// heard returns how many entries of a room have come.
func (s *crashStream) heard(id room.ID) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next[id.String()]
}

// complete waits until the stream has had n entries of a room, and says whether
// any was missed or came twice.
func (s *crashStream) complete(id room.ID, n uint64) {
	t := s.d.w.t
	t.Helper()
	within(t, fmt.Sprintf("%s hears %d entries", s.d.user, n), func() bool { return s.heard(id) >= n })
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.next[id.String()]; got != n {
		t.Errorf("%s heard %d entries of %d", s.d.user, got, n)
	}
	if w := s.welcomes[id.String()]; len(w) > 0 && s.first[id.String()] > w[0].At.Next {
		t.Errorf("%s is in from entry %d on and heard %d first", s.d.user, w[0].At.Next, s.first[id.String()])
	}
	for i, f := range s.faults {
		if i < 5 {
			t.Errorf("stream of %s: %s", s.d.user, f)
		}
	}
}

// welcome waits for the Welcome to a room and joins with it.
func (s *crashStream) welcome(id room.ID) {
	d, t := s.d, s.d.w.t
	t.Helper()
	var list []clientapi.Welcome
	within(t, fmt.Sprintf("%s gets a Welcome", d.user), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		list = s.welcomes[id.String()]
		return len(list) > 0
	})
	w := list[0]
	m := crashMust(mls.ParseMessage(append([]byte{0, 1, 0, 3}, w.Welcome...), mls.Limits{}))(t)
	tree := crashMust(mls.ParseRatchetTree(w.Tree, mls.Limits{}))(t)
	g := crashMust(mls.JoinWelcome(m.Welcome, d.kp, mls.JoinOptions{Tree: tree}, d.config(), time.Now()))(t)
	d.mu.Lock()
	d.group = g
	d.mu.Unlock()
}

// merge takes the device's own accepted commit into force.
func (s *crashSubmission) merge() {
	s.by.w.t.Helper()
	s.by.mu.Lock()
	defer s.by.mu.Unlock()
	if err := s.by.group.Merge(s.update); err != nil {
		s.by.w.t.Fatal(err)
	}
}
