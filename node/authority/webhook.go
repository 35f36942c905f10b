package authority

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
)

// Webhook sends codes through an HTTP service of the operator, such as a gateway for text
// messages. Its fields do not change. Safe for concurrent use.
//
//	POST URL
//	Content-Type: application/json
//	Mimid-Timestamp: 1796000000          seconds since 1970
//	Mimid-Signature: v1=…                hexadecimal HMAC-SHA256 of timestamp, ".", body
//
//	{"to": "+16505551000", "method": "sms", "code": "01234567", "text": "…"}
//
// An answer of 2xx means that somebody delivers it; 400, 404, 410 and 422 that the number is
// refused for good; all else may pass. Its body does not matter. The service compares the
// signature and refuses old timestamps, or else whoever can reach it sends text messages.
type Webhook struct {
	// URL is https, or http at a loopback address.
	URL string
	// Secret is the key of the signatures, of 16 octets at least.
	Secret []byte
	// Timeout of one request. Default 10 seconds.
	Timeout time.Duration
	// Transport, if not nil, makes the requests.
	Transport http.RoundTripper
	// Now dates requests. Default time.Now.
	Now func() time.Time
}

const (
	minSecret  = 16
	maxDrained = 4 << 10 // of an answer, so that its connection can be used again
)

// Check says what is wrong with the configuration. Error: ErrConfig.
func (h *Webhook) Check() error {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%w: webhook %q is no URL such as https://sms.example/send, without a user name", ErrConfig, h.URL)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())) {
		return fmt.Errorf("%w: webhook %q: codes go out by https only, except on this machine", ErrConfig, h.URL)
	}
	if len(h.Secret) < minSecret {
		return fmt.Errorf("%w: the webhook's secret has %d octets, fewer than %d", ErrConfig, len(h.Secret), minSecret)
	}
	return nil
}

// Send implements Sender. Its errors hold neither number nor code, nor what the service says.
// Errors: ErrRefused, ErrConfig, those of the network.
func (h *Webhook) Send(ctx context.Context, m Message) error {
	if err := h.Check(); err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		To     string           `json:"to"`
		Method discovery.Method `json:"method"`
		Code   string           `json:"code"`
		Text   string           `json:"text"`
	}{m.To, m.Method, m.Code, m.short()})
	if err != nil {
		return fmt.Errorf("calling webhook: %w", err)
	}
	now := time.Now
	if h.Now != nil {
		now = h.Now
	}
	timeout := h.Timeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("calling webhook: %w", err)
	}
	at := strconv.FormatInt(now().Unix(), 10)
	mac := hmac.New(sha256.New, h.Secret)
	mac.Write([]byte(at + "."))
	mac.Write(body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Mimid-Timestamp", at)
	r.Header.Set("Mimid-Signature", "v1="+hex.EncodeToString(mac.Sum(nil)))
	c := http.Client{Transport: h.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(r)
	if err != nil {
		var bad *url.Error // which names the URL, and a query in it may be secret
		if errors.As(err, &bad) {
			err = bad.Err
		}
		return fmt.Errorf("calling webhook: %w", err)
	}
	defer resp.Body.Close()
	io.CopyN(io.Discard, resp.Body, maxDrained)
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return nil
	case code == 400, code == 404, code == 410, code == 422:
		return fmt.Errorf("calling webhook: %w: status %d", ErrRefused, code)
	default:
		return fmt.Errorf("calling webhook: status %d", code)
	}
}

// short is Text for text messages, of 160 characters if the names are short.
func (m *Message) short() string {
	return fmt.Sprintf("%s is the code for %s at %s. Not you? Tell it to nobody.", m.Code, m.User, m.Authority)
}
