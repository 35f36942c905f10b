package mimihttps_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/mimihttps"
	"github.com/mimid/mimid/node/peering"
	"github.com/mimid/mimid/overlay"
	"github.com/mimid/mimid/protocol/wire"
)

const room = "mimi://biloxi.example/r/clubhouse"

var roomPath = strings.NewReplacer(":", "%3A", "/", "%2F").Replace(room)

// TestCertificates: MIMI protocol section 4: requests are made over TLS with certificates
// of both providers; the target is in Host, the source in From.
func TestCertificates(t *testing.T) {
	s := serve(t, peering.Limits{}, mimihttps.Limits{})
	stranger := newIssuer(t)
	between, betweenKey := s.by.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	below := (&issuer{t, between, betweenKey}).pair(leaf(atlanta))
	withChain := below
	withChain.Certificate = append(withChain.Certificate, between.Raw)
	pair := func(c *x509.Certificate) *tls.Certificate { p := s.by.pair(c); return &p }
	edited := func(names string, edit func(*x509.Certificate)) *tls.Certificate {
		c := leaf(names)
		edit(c)
		return pair(c)
	}
	const refused = -1 // by the handshake
	for _, x := range []struct {
		why   string
		show  *tls.Certificate
		from  []string
		host  string
		want  int
		code  string
		proof string // the source that the handler sees
	}{
		{why: "its own", show: pair(leaf(atlanta)), want: 200, proof: atlanta},
		{why: "one of several names", show: pair(leaf("chicago.example", atlanta)), want: 200, proof: atlanta},
		{why: "in capitals", show: pair(leaf("Atlanta.Example")), from: []string{"mimi@ATLANTA.example"}, want: 200, proof: atlanta},
		{why: "of who issues for clients", show: edited(atlanta, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want: 200, proof: atlanta},
		{why: "by way of another", show: &withChain, want: 200, proof: atlanta},
		{why: "a host with a port", show: pair(leaf(atlanta)), host: biloxi + ":4433", want: 200, proof: atlanta},

		{why: "by way of another that is not shown", show: &below, want: refused},
		{why: "none", want: 401, code: "certificate"},
		{why: "of another provider", show: pair(leaf("chicago.example")), want: 401, code: "certificate"},
		{why: "of a host of the provider", show: pair(leaf("mimi." + atlanta)), want: 401, code: "certificate"},
		{why: "a wildcard above", show: pair(leaf("*.example")), want: 401, code: "certificate"},
		{why: "a wildcard below", show: pair(leaf("*." + atlanta)), want: 401, code: "certificate"},
		{why: "a common name only", show: edited("", func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, atlanta }), want: 401, code: "certificate"},
		{why: "the name as a mail address", show: edited("", func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = nil, []string{"mimi@" + atlanta} }), want: 401, code: "certificate"},
		{why: "for mail", show: edited(atlanta, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), want: refused},
		{why: "by a stranger", show: func() *tls.Certificate { p := stranger.pair(leaf(atlanta)); return &p }(), want: refused},
		{why: "expired", show: edited(atlanta, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}), want: refused},
		{why: "not valid yet", show: edited(atlanta, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}), want: refused},

		{why: "no From", show: pair(leaf(atlanta)), from: []string{}, want: 400, code: "from"},
		{why: "two From", show: pair(leaf(atlanta)), from: []string{"mimi@" + atlanta, "mimi@" + atlanta}, want: 400, code: "from"},
		{why: "From is a person", show: pair(leaf(atlanta)), from: []string{"alice@" + atlanta}, want: 400, code: "from"},
		{why: "From has no domain", show: pair(leaf(atlanta)), from: []string{"mimi@"}, want: 400, code: "from"},
		{why: "From is a list", show: pair(leaf(atlanta)), from: []string{"mimi@" + atlanta + ", mimi@chicago.example"}, want: 400, code: "from"},
		{why: "From names another", show: pair(leaf(atlanta)), from: []string{"mimi@chicago.example"}, want: 401, code: "certificate"},
		{why: "From names the target", show: pair(leaf(atlanta)), from: []string{"mimi@" + biloxi}, want: 401, code: "certificate"},
		{why: "another host", show: pair(leaf(atlanta)), host: "chicago.example", want: 421, code: "wrong_target"},
		{why: "a host of the provider", show: pair(leaf(atlanta)), host: "mimi." + biloxi, want: 421, code: "wrong_target"},
	} {
		t.Run(x.why, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+biloxi+"/v1/submitMessage/"+roomPath, strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if x.from == nil {
				x.from = []string{"mimi@" + atlanta}
			}
			r.Header["From"] = x.from
			if x.host != "" {
				r.Host = x.host
			}
			resp, err := s.client(x.show).Do(r)
			calls := s.calls()
			if x.want == refused {
				if err == nil || len(calls) > 0 {
					t.Fatalf("accepted: %d calls", len(calls))
				}
				return
			}
			status, body := answer(t, resp, err)
			if status != x.want || x.code != "" && !strings.Contains(body, `"code":"`+x.code+`"`) {
				t.Errorf("%d %s, want %d %s", status, body, x.want, x.code)
			}
			if x.proof == "" {
				if len(calls) > 0 {
					t.Error("the handler was called")
				}
				return
			}
			if len(calls) != 1 || calls[0].Source != x.proof || calls[0].Room != room || string(calls[0].Body) != "hello" || body != "got hello" {
				t.Errorf("%+v, %q", calls, body)
			}
		})
	}
}

// A connection that stays open does not keep an expired certificate good.
func TestCertificateExpiresOnAConnection(t *testing.T) {
	s := serve(t, peering.Limits{}, mimihttps.Limits{})
	show := s.by.pair(leaf(atlanta))
	c := s.client(&show)
	post := func() (int, string) {
		r, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+biloxi+"/v1/submitMessage/"+roomPath, strings.NewReader("hello"))
		r.Header.Set("From", "mimi@"+atlanta)
		resp, err := c.Do(r)
		return answer(t, resp, err)
	}
	if status, body := post(); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	s.clock.add(2 * time.Hour)
	if status, body := post(); status != 401 || !strings.Contains(body, "expired") {
		t.Errorf("%d %s", status, body)
	}
	if n := len(s.calls()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// TestDirectory: section 5.1: it is read with GET, and by anybody.
func TestDirectory(t *testing.T) {
	s := serve(t, peering.Limits{}, mimihttps.Limits{})
	resp, err := s.client(nil).Get("https://" + biloxi + wire.DirectoryPath)
	status, body := answer(t, resp, err)
	d, err := wire.ParseDirectory([]byte(body), wire.Limits{})
	if status != 200 || err != nil {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if d.Template(wire.EndpointNotify) != "https://biloxi.example/v1/notify/{roomId}" || d.Template(wire.EndpointUpdate) != "" {
		t.Errorf("%s", body)
	}
	if m, ok := d.Mimid(); !ok || string(m.Record) != "the record" {
		t.Errorf("%+v", m)
	}
}

// TestBounds: what a peer sends is bounded before it is read.
func TestBounds(t *testing.T) {
	s := serve(t, peering.Limits{BodyTimeout: 300 * time.Millisecond}, mimihttps.Limits{HeaderTimeout: 300 * time.Millisecond, PerAddress: 3})
	show := s.by.pair(leaf(atlanta))
	raw := func(text string) (*tls.Conn, *bufio.Reader) {
		t.Helper()
		var c *tls.Conn
		for try := range 500 { // those before may still be going
			var err error
			if c, err = tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.by.roots(), ServerName: biloxi, Certificates: []tls.Certificate{show}}); err == nil {
				break
			}
			if try == 499 {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		return c, bufio.NewReader(c)
	}
	head := "POST /v1/submitMessage/" + roomPath + " HTTP/1.1\r\nHost: " + biloxi + "\r\nFrom: mimi@" + atlanta + "\r\n"
	for _, x := range []struct {
		why, text string
		want      int
	}{
		{"a body beyond the endpoint's", head + "Content-Length: 65537\r\n\r\n", 413},
		{"a body beyond all numbers", head + "Content-Length: 9223372036854775807\r\n\r\n", 413},
		{"no length", head + "Transfer-Encoding: chunked\r\n\r\n", 411},
		{"a body that does not come", head + "Content-Length: 5\r\n\r\nhel", 408},
		{"a long header", head + "X: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", 431},
		{"another method", "PUT" + head[4:] + "Content-Length: 0\r\n\r\n", 405},
		{"an endpoint that is not there", strings.Replace(head, "submitMessage", "nothing", 1) + "Content-Length: 0\r\n\r\n", 404},
		{"an endpoint of ours without envelope", strings.Replace(head, "submitMessage", "mimid-log", 1) + "Content-Length: 0\r\n\r\n", 400},
	} {
		c, r := raw(x.text)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", x.why, err)
		}
		if resp.StatusCode != x.want {
			t.Errorf("%s: %d, want %d", x.why, resp.StatusCode, x.want)
		}
		c.Close()
	}
	if n := len(s.calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
	// Who says nothing is let go.
	c, r := raw(head[:20])
	if b, err := io.ReadAll(r); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a header: %q, %v", b, err)
	}
	c.Close()
	// Neither is more than so many connections of one address kept, nor are they counted
	// for ever.
	for range 2 {
		var open []net.Conn
		for i := range 4 {
			d := tls.Dialer{Config: &tls.Config{RootCAs: s.by.roots(), ServerName: biloxi}}
			var conn net.Conn
			for try := range 200 { // those before may still be going
				var err error
				if conn, err = d.DialContext(t.Context(), "tcp", s.addr); err == nil || i == 3 {
					break
				}
				if try == 199 {
					t.Fatalf("connection %d: %v", i, err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			if i == 3 && conn != nil {
				t.Error("a fourth connection is accepted")
			}
			if conn != nil {
				open = append(open, conn)
			}
		}
		for _, c := range open {
			c.Close()
		}
	}
}

// TLS before 1.3, and HTTP/2, are not spoken.
func TestProtocols(t *testing.T) {
	s := serve(t, peering.Limits{}, mimihttps.Limits{})
	if c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.by.roots(), ServerName: biloxi, MaxVersion: tls.VersionTLS12}); err == nil {
		c.Close()
		t.Error("TLS 1.2")
	}
	c, err := tls.Dial("tcp", s.addr, &tls.Config{RootCAs: s.by.roots(), ServerName: biloxi, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p := c.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("negotiated %q", p)
	}
}

// nobody is an Overlay without peers.
type nobody struct{ records map[string]*overlay.Record }

func (n nobody) Resolve(_ context.Context, domain string) (*overlay.Record, error) {
	if r := n.records[domain]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("%w: %s", overlay.ErrUnknownProvider, domain)
}

func (n nobody) Client() *http.Client { return &http.Client{Transport: unreachable{}} }

type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%w: test", overlay.ErrUnreachable)
}

// caller is atlanta.example with HTTPS.
func (s *served) caller(o mimihttps.Overlay, off bool, edit func(*mimihttps.ClientConfig)) *peering.Caller {
	cfg := mimihttps.ClientConfig{Domain: atlanta, Certificate: s.by.own(atlanta, s.clock.now), Roots: s.by.roots(), Resolve: map[string]string{biloxi: s.addr}, Now: s.clock.now}
	if edit != nil {
		edit(&cfg)
	}
	d := mimihttps.NewDirectories(cfg)
	s.t.Cleanup(d.Close)
	tr := &mimihttps.Transport{Overlay: o, Off: off, Directories: d}
	return &peering.Caller{Domain: atlanta, Key: func() ed25519.PrivateKey { return providerKey(atlanta) }, Now: s.clock.now,
		Client: &http.Client{Transport: tr}, Proven: tr.Proven}
}

// TestCaller: MIMI's endpoints and ours, with a record and without, with the overlay and
// without.
func TestCaller(t *testing.T) {
	s := serve(t, peering.Limits{}, mimihttps.Limits{})
	url := "https://" + biloxi + wire.DirectoryPath
	for why, c := range map[string]*peering.Caller{
		"no record":                    s.caller(nobody{}, false, nil),
		"a record without nodes":       s.caller(nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, DirectoryURL: url}}}, false, nil),
		"the overlay is off":           s.caller(nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, DirectoryURL: url, Nodes: []overlay.Node{{ID: "x"}}}}}, true, nil),
		"nodes that cannot be reached": s.caller(nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, DirectoryURL: url, Nodes: []overlay.Node{{ID: "x"}}}}}, false, nil),
	} {
		for range 2 {
			for _, q := range []peering.Request{
				{Target: biloxi, Endpoint: "submitMessage", Subject: room, Room: room, Body: []byte("hello")},
				{Target: biloxi, Endpoint: "requestConsent", Subject: "mimi://biloxi.example/u/bob", Body: []byte("may I")},
				{Target: biloxi, Endpoint: "mimid-log", Subject: "00ff"},
			} {
				res, err := c.Call(t.Context(), q)
				calls := s.calls()
				if err != nil || len(calls) != 1 {
					t.Fatalf("%s: %s: %v, %d calls", why, q.Endpoint, err, len(calls))
				}
				in := calls[0]
				if in.Source != atlanta || in.Endpoint != q.Endpoint || in.Subject != q.Subject || in.Room != q.Room || in.ID == (peering.ID{}) ||
					string(in.Body) != string(q.Body) || string(res.Body) != "got "+string(q.Body) {
					t.Errorf("%s: %+v, %q", why, in, res.Body)
				}
			}
		}
	}
	// Which of these need no signature, as far as that can be told before.
	withNodes := nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, DirectoryURL: url, Nodes: []overlay.Node{{ID: "x"}}}}}
	for _, x := range []struct {
		why      string
		o        nobody
		off      bool
		endpoint string
		want     bool
	}{
		{"no record: whoever it is", nobody{}, false, "submitMessage", false},
		{"a record without nodes", nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, DirectoryURL: url}}}, false, "submitMessage", true},
		{"an endpoint of ours", nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, DirectoryURL: url}}}, false, "mimid-log", false},
		{"the overlay is off", withNodes, true, "submitMessage", true},
		{"nodes that can perhaps be reached", withNodes, false, "submitMessage", false},
	} {
		if got := s.caller(x.o, x.off, nil).Proven(t.Context(), biloxi, x.endpoint); got != x.want {
			t.Errorf("%s: %v", x.why, got)
		}
	}
	// What is not in the directory was not sent.
	c := s.caller(nobody{}, false, nil)
	if _, err := c.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "update", Subject: room, Room: room}); !errors.Is(err, peering.ErrNotSent) {
		t.Errorf("an endpoint that is not offered: %v", err)
	}
	// Nor is anything to a provider that has nodes and no directory.
	c = s.caller(nobody{map[string]*overlay.Record{biloxi: {Domain: biloxi, Nodes: []overlay.Node{{ID: "x"}}}}}, false, nil)
	if _, err := c.Call(t.Context(), peering.Request{Target: biloxi, Endpoint: "mimid-log", Subject: "x"}); !errors.Is(err, peering.ErrNotSent) || len(s.calls()) > 0 {
		t.Errorf("a provider that names no directory: %v", err)
	}
	c = s.caller(nobody{}, false, nil)
	if _, err := c.Call(t.Context(), peering.Request{Target: "chicago.example", Endpoint: "mimid-log", Subject: "x"}); !errors.Is(err, peering.ErrUnknown) {
		t.Errorf("a provider that is nowhere: %v", err)
	}
}
