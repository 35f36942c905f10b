package node_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mimid/mimid/protocol/wire"
)

// overheard keeps the body of the last submission of a client.
type overheard struct {
	mu   sync.Mutex
	last []byte
}

func (o *overheard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && strings.Contains(r.URL.Path, "messages") {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		o.mu.Lock()
		o.last = b
		o.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
	return http.DefaultTransport.RoundTrip(r)
}

// submissions are what bob's provider submits for him to alice's, by HTTPS: a message of
// his that was overheard, each time with another ciphertext, which no hub can read.
type submissions struct {
	room string
	body []byte
	at   int // where the ciphertext may be changed
	n    atomic.Uint64
}

func (s *submissions) next() []byte {
	b := bytes.Clone(s.body)
	binary.BigEndian.PutUint64(b[s.at:], s.n.Add(1))
	return b
}

// webRoom is a room of alice, whose provider is its hub, and of bob, whose provider has
// HTTPS only. Neither their devices run any more.
func webRoom(t testing.TB) (a, b *running, i *issuer, at map[string]string, s *submissions) {
	t.Helper()
	ctx := t.Context()
	i, at = newIssuer(t), places(t, "atlanta.example", "biloxi.example")
	a = prepareWeb(t, i, at, "atlanta.example", nil).must()
	b = prepareWeb(t, i, at, "biloxi.example", without).must()
	var ends []func()
	a.atEnd = func(f func()) { ends = append(ends, f) }
	b.atEnd = a.atEnd
	ear := new(overheard)
	alice, bob := a.user("alice"), b.userBy("bob", &http.Client{Transport: ear})
	if err := bob.Accept(ctx, alice.User()); err != nil {
		t.Fatal(err)
	}
	room, err := alice.CreateRoom(ctx, "room")
	if err != nil {
		t.Fatal(err)
	}
	within(t, "bob can be added", func() bool { return alice.AddUser(ctx, room, bob.User()) == nil })
	within(t, "bob is in", func() bool { _, err := bob.Verify(ctx, room); return err == nil })
	if _, err := bob.Send(ctx, room, strings.Repeat("x", 1024)); err != nil {
		t.Fatal(err)
	}
	reads(t, alice, room, strings.Repeat("x", 1024))
	ear.mu.Lock()
	for _, f := range ends { // their devices cost more than the hub
		f()
	}
	var sent struct {
		Request []byte `json:"request"`
	}
	err = json.Unmarshal(ear.last, &sent)
	ear.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseSubmitMessageRequest(sent.Request, wire.Limits{}); err != nil {
		t.Fatal(err)
	}
	return a, b, i, at, &submissions{room: room.String(), body: sent.Request, at: len(sent.Request) - len(bob.User().String()) - 64}
}

// client is one of a provider, as anybody could write it: certificates, HTTP/1.1, and so
// many connections.
func (i *issuer) client(t testing.TB, domain, addr string, conns int) *http.Client {
	t.Helper()
	cert, key := i.issue(domain)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	tr := &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// submit makes one request and returns the answer.
func (s *submissions) submit(c *http.Client, header http.Header, body []byte) (int, []byte, error) {
	r, err := http.NewRequest("POST", "https://atlanta.example/v1/submitMessage/"+strings.NewReplacer(":", "%3A", "/", "%2F").Replace(s.room), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header = header.Clone()
	r.Header.Set("From", "mimi@biloxi.example")
	resp, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

// BenchmarkHTTPSSubmit: b.N messages of 1 KiB of text submitted by so many connections to
// a whole node, over TLS with certificates on both sides, from the socket to the fsync of
// the room's log and back, with an envelope and without; and the same bodies to a bare
// net/http handler with the same TLS, which reads them and answers. Both sides of all
// share the machine. Each is done in turns of 1,000. The processor's time is that of both
// sides, and says what the rates would be on a machine that has nothing else to do.
func BenchmarkHTTPSSubmit(b *testing.B) {
	for _, conns := range []int{64, 240} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) { httpsSubmit(b, conns) })
	}
}

func httpsSubmit(b *testing.B, conns int) {
	const turn = 1000
	a, follower, i, at, s := webRoom(b)
	if err := follower.stop(); err != nil {
		b.Fatal(err)
	}
	key := signingKey(b, follower.dir)

	// The bare handler, with the TLS of a node.
	cert, keyFile := i.issue("atlanta.example")
	pair, err := tls.LoadX509KeyPair(cert, keyFile)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(i.cert)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	bare := &http.Server{Protocols: &protocols, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			return err
		}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				b.Error(err)
			}
			w.Write(make([]byte, 12))
		})}
	go bare.ServeTLS(l, "", "")
	b.Cleanup(func() { bare.Close() })

	node, beside := i.client(b, "biloxi.example", at["atlanta.example"], conns), i.client(b, "biloxi.example", l.Addr().String(), conns)
	kinds := []struct {
		name string
		send func(body []byte) error
		took time.Duration
		cpu  time.Duration
	}{
		{name: "bare", send: func(body []byte) error {
			_, _, err := s.submit(beside, http.Header{}, body)
			return err
		}},
		{name: "plain", send: func(body []byte) error { return accepted(s.submit(node, http.Header{}, body)) }},
		{name: "signed", send: func(body []byte) error {
			h, err := s.envelope(key, body)
			if err != nil {
				return err
			}
			return accepted(s.submit(node, h, body))
		}},
		{name: "unsigned", send: func(body []byte) error {
			h, err := s.envelope(nil, body)
			if err != nil {
				return err
			}
			return accepted(s.submit(node, h, body))
		}},
	}
	run := func(k int, n int) time.Duration {
		begin := time.Now()
		var next atomic.Int64
		var wg sync.WaitGroup
		for range conns {
			wg.Go(func() {
				for next.Add(1) <= int64(n) {
					if err := kinds[k].send(s.next()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(begin)
	}
	for k := range kinds {
		run(k, 2*conns) // connections are made, and what else is done once
	}
	before := a.status()
	b.ResetTimer()
	done := 0
	for ; done < b.N; done += turn {
		for k := range kinds {
			cpu := processor()
			kinds[k].took += run(k, turn)
			kinds[k].cpu += processor() - cpu
		}
	}
	b.StopTimer()
	after := a.status()
	rate := func(k int) float64 { return float64(done) / kinds[k].took.Seconds() }
	for k, x := range kinds {
		b.ReportMetric(rate(k), x.name+"/s")
		b.ReportMetric(float64(x.cpu.Microseconds())/float64(done), x.name+"-cpu-us")
		if k > 0 {
			b.ReportMetric(100*rate(k)/rate(0), x.name+"-%")
		}
	}
	b.ReportMetric(float64((len(kinds)-1)*done)/float64(after.Commits-before.Commits), "messages/commit")
	b.ReportMetric(0, "ns/op")
}

// processor is the time that this process has used of the processors, which does not
// depend on what else runs.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func accepted(status int, body []byte, err error) error {
	if err != nil {
		return err
	}
	res, err := wire.ParseSubmitMessageResponse(body, wire.Limits{})
	if status != 200 || err != nil || res.Code != wire.SubmitAccepted {
		return fmt.Errorf("status %d, %.200q, %v", status, body, err)
	}
	return nil
}

// envelope is that of another mimid, which signs it if it has to (peering.Caller.Proven).
func (s *submissions) envelope(key ed25519.PrivateKey, body []byte) (http.Header, error) {
	e := wire.Envelope{Source: "biloxi.example", Target: "atlanta.example", Endpoint: "submitMessage", Room: wire.IdentifierURI(s.room), Time: uint64(time.Now().UnixMilli())}
	binary.BigEndian.PutUint64(e.RequestID[:], s.n.Add(1))
	e.SetBody(body)
	if key != nil {
		if err := e.Sign(key); err != nil {
			return nil, err
		}
	}
	raw, err := e.Bytes()
	if err != nil {
		return nil, err
	}
	return http.Header{"Mimi-Envelope": {base64.RawURLEncoding.EncodeToString(raw)}}, nil
}

// signingKey is the provider key in a data directory.
func signingKey(t testing.TB, dir string) ed25519.PrivateKey {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "keys", "provider-1.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}
