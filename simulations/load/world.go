package load

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/policy"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
)

// world is the room, its users, and what the sender has to say.
type world struct {
	sender    *user
	receivers []*user
	room      string // id, as paths and events name it
	group     *mls.Group
	next      uint64 // sequence number of the next entry
	// requests are SubmitMessageRequests; a message is one of them with a nonce.
	requests [][]byte
}

// newWorld registers the users and makes the room. When it returns, all providers have
// the room.
func newWorld(ctx context.Context, cfg Config, ps []*provider) (*world, error) {
	w := &world{}
	var err error
	if w.sender, err = register(ctx, ps[0], "sender", 0); err != nil {
		return nil, err
	}
	for i := range cfg.Receivers {
		u, err := register(ctx, ps[1], fmt.Sprintf("receiver%d", i+1), i)
		if err != nil {
			return nil, err
		}
		w.receivers = append(w.receivers, u)
	}
	for _, p := range ps[2:] {
		u, err := register(ctx, p, "witness", 0)
		if err != nil {
			return nil, err
		}
		w.receivers = append(w.receivers, u)
	}
	cfg.Log.Info("users registered", "users", 1+len(w.receivers))
	if err := w.createRoom(ctx); err != nil {
		return nil, err
	}
	if err := w.addParticipants(ctx); err != nil {
		return nil, err
	}
	if cfg.Replicas {
		if err := w.replicate(ctx); err != nil {
			return nil, fmt.Errorf("making replicas: %w", err)
		}
	}
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, p := range ps {
		if err := p.waitNext(wait, w.room, w.next, nil); err != nil {
			return nil, fmt.Errorf("bringing the room to all providers: %w", err)
		}
	}
	cfg.Log.Info("room is at all providers", "room", w.room, "participants", 1+len(w.receivers))
	return w, nil
}

// createRoom makes the room and the group with the sender as their only member.
func (w *world) createRoom(ctx context.Context) error {
	about := new(clientapi.Provider)
	if err := w.sender.call(ctx, http.DefaultClient, "GET", "/v1/provider", nil, about); err != nil {
		return fmt.Errorf("asking for the provider's keys: %w", err)
	}
	anchor := ed25519.PublicKey(about.Key)
	auth, err := x509auth.New(x509auth.Options{Anchors: func(domain string) []crypto.PublicKey {
		if domain == about.Domain {
			return []crypto.PublicKey{anchor}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("making authenticator: %w", err)
	}
	sign, err := mls.GenerateSignatureKey(room.Suite)
	if err != nil {
		return err
	}
	cert, err := x509auth.IssueClient(w.sender.key, w.sender.account.Certificate, w.sender.account.Client, sign.Public(), x509auth.ValidFor(time.Now(), x509auth.Lifetime))
	if err != nil {
		return fmt.Errorf("issuing client certificate: %w", err)
	}
	h := &room.Hosting{Term: room.FirstTerm, Failover: room.FailoverAdmin, Hub: room.Replica{Domain: about.Domain, FrankingKey: about.FrankingKey}}
	copy(h.Hub.ProviderKey[:], about.Key)
	h.Replicas = []room.Replica{h.Hub}
	rand.Read(h.Topic[:])
	ext, err := room.Extensions(w.sender.user, h, nil)
	if err != nil {
		return fmt.Errorf("describing the room: %w", err)
	}
	name, err := uri.ParseRoom("mimi://" + about.Domain + "/r/" + strings.ToLower(rand.Text()))
	if err != nil {
		return fmt.Errorf("naming the room: %w", err)
	}
	gid, err := room.GroupID(name)
	if err != nil {
		return fmt.Errorf("naming the group: %w", err)
	}
	w.group, err = mls.CreateGroup(mls.GroupParams{GroupID: gid, Extensions: ext, LeafParams: mls.LeafParams{Suite: room.Suite, Signer: sign,
		Credential: mls.X509Credential(cert, w.sender.account.Certificate), Lifetime: mls.LifetimeOf(time.Now(), 30*24*time.Hour)}}, room.Config(auth))
	if err != nil {
		return fmt.Errorf("making the group: %w", err)
	}
	info, err := w.group.GroupInfo(false)
	if err != nil {
		return fmt.Errorf("making the group: %w", err)
	}
	nonce := room.NewTxnNonce()
	var got clientapi.Submitted
	err = w.sender.call(ctx, http.DefaultClient, "POST", "/v1/rooms", &clientapi.NewRoom{URI: name.String(), GroupInfo: info.Bytes(),
		Tree: w.group.Public().Tree().Bytes(), Nonce: nonce[:]}, &got)
	if err != nil {
		return fmt.Errorf("creating the room: %w", err)
	}
	w.room, w.next = room.IDOf([]byte(name.String())).String(), 1
	return nil
}

// addParticipants puts the receivers on the participant list, by one commit.
func (w *world) addParticipants(ctx context.Context) error {
	var set []room.Participant
	for _, u := range w.receivers {
		set = append(set, room.Participant{User: u.user, Role: policy.Member})
	}
	p, err := room.UpdateParticipants(w.group.Public().Context(), set, nil)
	if err == nil {
		err = w.commit(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("adding participants: %w", err)
	}
	return nil
}

// replicate has the sender's, the receivers' and the witness's providers decide
// together.
func (w *world) replicate(ctx context.Context) error {
	h, err := room.HostingOf(w.group.Public().Context())
	if err != nil {
		return err
	}
	h.Failover = room.FailoverAuto
	for _, u := range []*user{w.receivers[0], w.receivers[len(w.receivers)-1]} {
		about := new(clientapi.Provider)
		if err := u.call(ctx, http.DefaultClient, "GET", "/v1/provider", nil, about); err != nil {
			return err
		}
		x := room.Replica{Domain: about.Domain, FrankingKey: about.FrankingKey}
		copy(x.ProviderKey[:], about.Key)
		h.Replicas = append(h.Replicas, x)
	}
	p, err := room.UpdateHosting(h)
	if err == nil {
		err = w.commit(ctx, p)
	}
	w.next++ // the hub's entry that the change is settled
	return err
}

// commit submits a commit of the sender's with one proposal, and merges it.
func (w *world) commit(ctx context.Context, p *mls.Proposal) error {
	s, err := w.group.Commit(mls.CommitOptions{Proposals: []*mls.Proposal{p}}, time.Now())
	if err != nil {
		return err
	}
	b, err := (&wire.UpdateRequest{Bundle: wire.HandshakeBundle{Message: s.Message, GroupInfo: &wire.GroupInfoOption{Full: s.GroupInfo},
		Tree: &wire.RatchetTreeOption{Representation: wire.TreeDistributionService}}}).Bytes()
	if err != nil {
		return err
	}
	nonce := room.NewTxnNonce()
	var got clientapi.SubmittedUpdate
	if err := w.sender.call(ctx, http.DefaultClient, "POST", "/v1/rooms/"+w.room+"/updates", &clientapi.SubmitUpdate{Request: b, Nonce: nonce[:]}, &got); err != nil {
		return err
	}
	res, err := wire.ParseUpdateRoomResponse(got.Response, wire.Limits{})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if res.Code != wire.UpdateSuccess {
		return fmt.Errorf("%w: %s %s", ErrRefused, res.Code, res.Description)
	}
	if err := w.group.Merge(s); err != nil {
		return err
	}
	w.next++
	return nil
}

// encrypt makes n messages with size bytes of random plaintext each.
func (w *world) encrypt(n, size int) error {
	text := make([]byte, size)
	for range n {
		rand.Read(text)
		m, err := w.group.Encrypt(text, mls.SendOptions{AAD: wire.NewFrankAAD([]byte("salt"), text).SafeAAD()})
		if err != nil {
			return fmt.Errorf("encrypting: %w", err)
		}
		b, err := (&wire.SubmitMessageRequest{Message: m, SendingURI: wire.IdentifierURI(w.sender.account.User)}).Bytes()
		if err != nil {
			return fmt.Errorf("encrypting: %w", err)
		}
		w.requests = append(w.requests, b)
		// Only what the group would store is dropped: this one is never loaded again.
		w.group.Unsaved()
	}
	return nil
}

// post appends the HTTP request that submits a message.
func (w *world) post(b []byte, request []byte, nonce room.TxnNonce) []byte {
	enc := base64.StdEncoding
	const before, between, after = `{"request":"`, `","nonce":"`, `"}`
	size := len(before) + enc.EncodedLen(len(request)) + len(between) + enc.EncodedLen(len(nonce)) + len(after)
	b = fmt.Appendf(b, "POST /v1/rooms/%s/messages HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		w.room, w.sender.address(), w.sender.account.Token, size)
	b = enc.AppendEncode(append(b, before...), request)
	b = enc.AppendEncode(append(b, between...), nonce[:])
	return append(b, after...)
}
