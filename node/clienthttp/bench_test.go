package clienthttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/node/clienthttp"
	"github.com/mimid/mimid/node/ration"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// idle answers submissions without doing anything.
type idle struct{ *fake }

func (idle) SubmitMessage(context.Context, account.Identity, store.RoomID, *clientapi.SubmitMessage) (*clientapi.SubmittedMessage, error) {
	return &clientapi.SubmittedMessage{Response: make([]byte, 64)}, nil
}

// BenchmarkSubmitMessage is what this package adds to a message, without the
// network and without the room.
func BenchmarkSubmitMessage(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := &fake{t: b}
			v := f.services()
			v.Submissions = idle{f}
			s, err := clienthttp.New(clienthttp.Config{Services: v, Requests: ration.Config{PerSecond: 1e9, Burst: 1e9}})
			must(b, err)
			body, err := json.Marshal(clientapi.SubmitMessage{Request: make([]byte, size), Nonce: nonce})
			must(b, err)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequest("POST", roomPath+"/messages", strings.NewReader(string(body)))
				req.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				if s.Handler().ServeHTTP(w, req); w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// BenchmarkFrame is the encoding of an event, once for all its readers.
func BenchmarkFrame(b *testing.B) {
	e := clientapi.Entries{Room: strings.Repeat("a", 64), Entries: [][]byte{make([]byte, 1<<10)}, Head: make([]byte, 128)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := clienthttp.Frame("12345", clientapi.EventEntries, e); err != nil {
			b.Fatal(err)
		}
	}
}
