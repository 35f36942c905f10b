package overlay_test

import (
	"bytes"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"google.golang.org/protobuf/proto"

	"github.com/mimid/mimid/overlay"
)

// empty answers with as little as there can be.
func empty(m *pb.Message) []byte { return framed(pb.NewMessage(m.GetType(), nil, 0)) }

// otherwise answers another question.
func otherwise(m *pb.Message) []byte { return framed(pb.NewMessage((m.GetType()+1)%6, nil, 0)) }

// Whatever a node of the DHT answers, the other one goes on. libp2p's own sender ends the
// process at an answer to PUT_VALUE that holds no record.
func TestAnswersOfLiars(t *testing.T) {
	for name, l := range map[string]lie{"empty": empty, "garbage": garbage, "too much": tooMuch, "otherwise": otherwise, "silent": silent} {
		t.Run(name, func(t *testing.T) {
			nodes := providers(t, 2, nil)
			a, b := nodes[0], nodes[1]
			resolves(t, a, "p1.example")
			overlay.Turn(b, l.serve)
			ctx := within(t, 2*time.Second)
			room := [32]byte{7}
			record := overlay.RoomRecord{Room: room, Number: 1}
			_ = a.AnnounceRoom(ctx, record)
			_ = a.Announce(ctx, [32]byte{1})
			for id := range a.Announcers(ctx, [32]byte{2}, 10) {
				t.Errorf("found %s, who announces nothing", id)
			}
			if _, err := overlay.Lookup(a, "nobody.example"); err == nil {
				t.Error("found a provider that does not exist")
			}
		})
	}
}

func FuzzReadAnswer(f *testing.F) {
	q := pb.NewMessage(pb.Message_PUT_VALUE, []byte("/k/x"), 0)
	f.Add(framed(q))
	f.Add(empty(q))
	f.Add(tooMuch(q))
	f.Add(garbage(q))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := overlay.ReadAnswer(b, q)
		if err != nil {
			return
		}
		if m.GetType() != pb.Message_PUT_VALUE || m.GetRecord() == nil {
			t.Errorf("an answer without a record: %v", m)
		}
		again, err := proto.Marshal(m)
		if err != nil || len(again) > len(b) && !bytes.Contains(b, again[:1]) {
			t.Errorf("%v", err)
		}
	})
}
