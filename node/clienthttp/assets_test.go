package clienthttp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/protocol/clientapi"
)

// patch sends a part of an upload.
func (s *site) patch(hash string, body io.Reader, header ...string) *http.Response {
	s.f.t.Helper()
	req, err := http.NewRequest("PATCH", s.url+"/v1/assets/"+hash, body)
	must(s.f.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.http.Do(req)
	must(s.f.t, err)
	return res
}

func TestUpload(t *testing.T) {
	s := serve(t)
	good := []string{"Content-Type", clientapi.TypeUpload, "Upload-Offset", "5"}
	res := s.patch(assetHash, strings.NewReader("octets"), good...)
	var got clientapi.Asset
	if b := s.body(res); res.StatusCode != 200 || res.Header.Get("Upload-Offset") != "11" || json.Unmarshal(b, &got) != nil || got.Offset != 11 {
		t.Errorf("status %d, Upload-Offset %q, %s", res.StatusCode, res.Header.Get("Upload-Offset"), b)
	}
	if string(s.f.appended) != "octets" {
		t.Errorf("the service got %q", s.f.appended)
	}
	for _, c := range []struct {
		name   string
		header []string
		status int
	}{
		{"no type", []string{"Upload-Offset", "0"}, 415},
		{"JSON", []string{"Content-Type", "application/json", "Upload-Offset", "0"}, 415},
		{"compressed", append([]string{"Content-Encoding", "gzip"}, good...), 415},
		{"no offset", good[:2], 400},
		{"negative offset", []string{"Content-Type", clientapi.TypeUpload, "Upload-Offset", "-1"}, 400},
		{"no number", []string{"Content-Type", clientapi.TypeUpload, "Upload-Offset", "1x"}, 400},
		{"offset beyond all", []string{"Content-Type", clientapi.TypeUpload, "Upload-Offset", "99999999999999999999"}, 400},
	} {
		n := len(s.f.calls)
		s.wantProblem(s.patch(assetHash, strings.NewReader("x"), c.header...), c.status, clientapi.CodeInvalid)
		if len(s.f.calls) != n {
			t.Errorf("%s: reached the service", c.name)
		}
	}
	s.wantProblem(s.patch(strings.Repeat("00", 32), strings.NewReader("x"), good...), 404, clientapi.CodeNotFound)
	s.wantProblem(s.patch(assetHash, strings.NewReader("x"), append([]string{"Authorization", "Bearer wrong"}, good...)...), 401, clientapi.CodeUnauthorized)
}

// A body may take as long as it likes if something comes, and is broken off if nothing
// does; what came then reaches the service.
func TestUploadMustNotStandStill(t *testing.T) {
	s := serve(t, func(c *clienthttp.Config) { c.BodyTimeout = 1500 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PATCH /v1/assets/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nUpload-Offset: 0\r\nContent-Length: 100\r\n\r\n",
		assetHash, token, clientapi.TypeUpload)
	must(t, err)
	for range 10 { // longer than the timeout, all together
		_, err := conn.Write([]byte("x"))
		must(t, err)
		time.Sleep(170 * time.Millisecond)
	}
	answer, _ := io.ReadAll(conn) // and now nothing
	if !bytes.Contains(answer, []byte(" 408 ")) {
		t.Errorf("answered with %.200q", answer)
	}
	if string(s.f.appended) != strings.Repeat("x", 10) {
		t.Errorf("the service got %q", s.f.appended)
	}
}

func TestDownload(t *testing.T) {
	s := serve(t)
	path := fmt.Sprintf("/v1/download?room=%x&url=%s", room[:], url.QueryEscape("https://biloxi.example/v1/asset/"+assetHash))
	res := s.do("GET", path, nil)
	if b := s.body(res); res.StatusCode != 200 || string(b) != content {
		t.Errorf("status %d, %q", res.StatusCode, b)
	}
	if s.f.got != "https://biloxi.example/v1/asset/"+assetHash {
		t.Errorf("the service was asked for %v", s.f.got)
	}
	res = s.do("GET", path, nil, "Range", "bytes=3-7")
	if b := s.body(res); res.StatusCode != 206 || string(b) != content[3:8] {
		t.Errorf("a range: status %d, %q", res.StatusCode, b)
	}
	s.wantProblem(s.do("GET", "/v1/download?room=xyz&url=x", nil), 422, clientapi.CodeInvalid)
	s.wantProblem(s.do("GET", fmt.Sprintf("/v1/download?room=%x", room[:]), nil), 422, clientapi.CodeInvalid)
	s.wantProblem(s.do("GET", fmt.Sprintf("/v1/download?room=%x&url=%s", room[:], strings.Repeat("x", 2049)), nil), 422, clientapi.CodeInvalid)
	s.wantProblem(s.do("GET", fmt.Sprintf("/v1/download?room=%x&url=x", make([]byte, 32)), nil), 404, clientapi.CodeNotFound)
	s.wantProblem(s.do("GET", path, nil, "Authorization", "Bearer wrong"), 401, clientapi.CodeUnauthorized)
}
