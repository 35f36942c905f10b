package node_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

// TestWebhookIsWired: a provider whose configuration names a webhook and the file with its secret sends
// codes there, signed with that secret, and publishes a number for whom the code has reached.
func TestWebhookIsWired(t *testing.T) {
	const secret, number = "sixteen octets and more", "tel:+16505551000"
	type called struct{ at, signature, body string }
	calls := make(chan called, 10)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.URL.String() != "/send?gateway=1" {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		calls <- called{r.Header.Get("Mimid-Timestamp"), r.Header.Get("Mimid-Signature"), string(b)}
	}))
	defer gateway.Close()
	a := prepareWith(t, "atlanta.example", func(c *node.Config) {
		c.Verification.Webhook, c.Verification.WebhookSecret = gateway.URL+"/send?gateway=1", "webhook.secret"
	})
	if err := a.run(); err == nil || !strings.Contains(err.Error(), "verification.webhook_secret_file") {
		t.Fatalf("without the file: %v", err)
	}
	file := filepath.Join(a.dir, "webhook.secret")
	if err := os.WriteFile(file, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.run(); err == nil || !strings.Contains(err.Error(), "verification.webhook: ") {
		t.Fatalf("with a secret of five octets: %v", err)
	}
	if err := os.WriteFile(file, []byte(secret+"\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.must()
	alice := a.user("alice")
	if _, err := alice.RequestCode(t.Context(), number, ""); err != nil {
		t.Fatal(err)
	}
	var got called
	within(t, "the gateway is called", func() bool {
		select {
		case got = <-calls:
			return true
		default:
			return false
		}
	})
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(got.at + "." + got.body))
	if got.at == "" || got.signature != "v1="+hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("signed %q at %q", got.signature, got.at)
	}
	var m struct{ To, Method, Code, Text string }
	if err := json.Unmarshal([]byte(got.body), &m); err != nil || m.To != "+16505551000" || m.Method != "sms" || len(m.Code) != 8 ||
		!strings.Contains(m.Text, m.Code) || !strings.Contains(m.Text, "atlanta.example") {
		t.Errorf("the gateway got %s, %v", got.body, err)
	}
	if err := alice.EnterCode(t.Context(), number, m.Code); err != nil {
		t.Errorf("entering the code: %v", err)
	}
	if strings.Contains(a.log.String(), m.Code) || strings.Contains(a.log.String(), "+1650") || strings.Contains(a.log.String(), secret) {
		t.Errorf("the log says %s", a.log)
	}
	for _, c := range a.examined("outside") {
		if c.Outcome != admin.Note {
			t.Errorf("with nobody to ask, the doctor says %+v", c)
		}
	}
}
