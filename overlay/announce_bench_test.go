//go:build unix

package overlay_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"

	"github.com/mimid/mimid/overlay"
)

// BenchmarkAnnounce is what it costs one node to announce many keys by the sweep: memory,
// and CPU for all of them once. The 40 others are in this process, but after they have
// joined they only count announcements, without decoding them, and answer with each other,
// so that little of the figures is theirs.
func BenchmarkAnnounce(b *testing.B) {
	for _, keys := range []int{2_000, 20_000, 200_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			const nodes = 41
			all, _ := crowd(b, nodes, func(i int, c *overlay.Config) { c.Limits.Announced = keys })
			var stored atomic.Int64
			for _, o := range all[1:] {
				var others [][]byte
				for _, p := range all {
					if p != o {
						info := addrInfo(p)
						m := pb.NewMessage(pb.Message_FIND_NODE, nil, 0)
						m.CloserPeers = append(m.CloserPeers, &pb.Message_Peer{Id: []byte(info.ID), Addrs: [][]byte{info.Addrs[0].Bytes()}})
						enc, _ := proto.Marshal(m)
						others = append(others, enc)
					}
				}
				overlay.Turn(o, func(s network.Stream) { sink(s, &stored, others) })
			}
			list := make([][32]byte, keys)
			for i := range list {
				list[i] = sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
			}
			for range b.N {
				before, cpu, began := heap(), cpuTime(), time.Now()
				if err := all[0].Announce(context.Background(), list...); err != nil {
					b.Fatal(err)
				}
				for last := int64(-1); stored.Load() < int64(keys) || stored.Load() != last; time.Sleep(3 * time.Second) {
					last = stored.Load()
				}
				b.ReportMetric((float64(heap())-float64(before))/(1<<20), "heap-MiB") // of all nodes: may shrink
				b.ReportMetric((cpuTime() - cpu).Seconds(), "cpu-s")
				b.ReportMetric(time.Since(began).Seconds(), "wall-s")
				b.ReportMetric(float64(stored.Load())/float64(keys), "holders/key")
				b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(stored.Load()), "cpu-µs/record")
				all[0].Withdraw(list...)
			}
		})
	}
}

// sink counts what is announced, and answers other requests with the nodes that there are.
func sink(s network.Stream, stored *atomic.Int64, others [][]byte) {
	defer s.Reset()
	r := bufio.NewReaderSize(s, 64<<10)
	for {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > 1<<16 {
			return
		}
		head, err := r.Peek(2)
		if err != nil {
			return
		}
		if head[0] == 1<<3 && head[1] == byte(pb.Message_ADD_PROVIDER) {
			stored.Add(1)
			if _, err := r.Discard(int(size)); err != nil {
				return
			}
			continue
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		q := new(pb.Message)
		if err := proto.Unmarshal(b, q); err != nil {
			return
		}
		out := pb.NewMessage(q.GetType(), q.GetKey(), 0)
		enc, _ := proto.Marshal(out)
		for _, o := range others[:20] {
			enc = append(enc, o...)
		}
		if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(enc))), enc...)); err != nil {
			return
		}
	}
}
