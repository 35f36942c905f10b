package clienthttp_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/node/ration"
)

// FuzzRequests: whatever a client sends, the answer is none of a fault, and the
// services, which are strict, see nothing that the handlers should have refused.
func FuzzRequests(f *testing.F) {
	for i, c := range calls {
		f.Add(uint8(i), "", "", `{}`)
		if s, ok := c.body.(string); ok {
			f.Add(uint8(i), "", "", s)
		}
	}
	good := `{"request":"AQ==","nonce":"AAAAAAAAAAAAAAAAAAAAAA=="}`
	f.Add(uint8(19), "", "", good)
	f.Add(uint8(5), "", "", `{"key_packages":["AQ==",""],"last_resort":null}`)
	f.Add(uint8(17), "/../x", "from=-1&limit=%zz", "")
	f.Add(uint8(14), "", "", `{"uri":"u","group_info":"","tree":"","nonce":"AAAAAAAAAAAAAAAAAAAAAAA="}`)
	rate := ration.Config{PerSecond: 1e9, Burst: 1e9}
	fk := &fake{t: f}
	s, err := clienthttp.New(clienthttp.Config{Services: fk.services(), Requests: rate, Strangers: rate})
	must(f, err)
	f.Fuzz(func(t *testing.T, which uint8, suffix, query, body string) {
		fk.t, fk.removed, fk.calls = t, false, nil
		c := calls[int(which)%len(calls)]
		path, _, _ := strings.Cut(c.path, "?")
		u := &url.URL{Path: path + suffix, RawQuery: query}
		req := httptest.NewRequest(c.method, "/", strings.NewReader(body))
		req.URL = u
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Errorf("%s %s %q: status %d, %s", c.method, u, body, w.Code, w.Body)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %q: status %d, %q", c.method, u, body, w.Code, w.Body)
		}
	})
}
