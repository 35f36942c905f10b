package overlay

import (
	"fmt"
	"time"
)

// Limits bounds what peers can make this node hold. A zero field means its default.
type Limits struct {
	Connections           int // of libp2p; beyond it idle ones are closed. Default 900
	ConnectionsPerAddress int // one IPv4 address, or IPv6 /56. Default 256
	Streams               int // of one protocol, each way. Default 8192
	StreamsPerPeer        int // of HTTP with one peer, each way. Default 256

	HeaderBytes     int           // of an HTTP request or response. Default 32 KiB
	BodyBytes       int64         // of an HTTP request. Default 16 MiB
	HeaderTimeout   time.Duration // to send a request's header. Default 10 s
	RequestTimeout  time.Duration // to send a whole request. Default 60 s
	ResponseTimeout time.Duration // to answer it, and for a client to wait for the answer's header. Default 120 s
	IdleTimeout     time.Duration // of a stream between requests. Default 90 s
	DialTimeout     time.Duration // to connect to a node. Default 10 s
	ConnectionGrace time.Duration // in which a new connection is not closed for being idle and one too many. Default 30 s
	StopTimeout     time.Duration // for requests being served when Run ends. Default 5 s

	Providers     int // known, in memory and stored. Default 20,000
	TopicsPerPeer int // that a peer may announce. Default 250,000
	Announced     int // own keys, see Announce. Default 200,000

	StoredValues         int // provider records of others, and new ones in an hour. Default 50,000
	StoredAnnouncements  int // of others, and new ones in an hour. Default 1,000,000
	ValuesPerPeer        int // that one peer may store here in an hour. Default 600
	AnnouncementsPerPeer int // that one peer may store here in an hour. Default 200,000
	AnnouncementsPerKey  int // of all peers together, in an hour. Default 256

	StoredRooms  int // room records of others, and new ones in an hour. Default 100,000
	RoomsPerPeer int // room records that one peer may store here in an hour. Default 1200
}

func (l *Limits) withDefaults() error {
	ints := []struct {
		name  string
		field *int
		value int
	}{
		{"Connections", &l.Connections, 900},
		{"ConnectionsPerAddress", &l.ConnectionsPerAddress, 256},
		{"Streams", &l.Streams, 8192},
		{"StreamsPerPeer", &l.StreamsPerPeer, 256},
		{"HeaderBytes", &l.HeaderBytes, 32 << 10},
		{"Providers", &l.Providers, 20_000},
		{"TopicsPerPeer", &l.TopicsPerPeer, 250_000},
		{"Announced", &l.Announced, 200_000},
		{"StoredValues", &l.StoredValues, 50_000},
		{"StoredAnnouncements", &l.StoredAnnouncements, 1_000_000},
		{"ValuesPerPeer", &l.ValuesPerPeer, 600},
		{"AnnouncementsPerPeer", &l.AnnouncementsPerPeer, 200_000},
		{"AnnouncementsPerKey", &l.AnnouncementsPerKey, 256},
		{"StoredRooms", &l.StoredRooms, 100_000},
		{"RoomsPerPeer", &l.RoomsPerPeer, 1200},
	}
	for _, f := range ints {
		if *f.field < 0 {
			return fmt.Errorf("%w: Limits.%s is negative", ErrConfig, f.name)
		}
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	times := []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"HeaderTimeout", &l.HeaderTimeout, 10 * time.Second},
		{"RequestTimeout", &l.RequestTimeout, time.Minute},
		{"ResponseTimeout", &l.ResponseTimeout, 2 * time.Minute},
		{"IdleTimeout", &l.IdleTimeout, 90 * time.Second},
		{"DialTimeout", &l.DialTimeout, 10 * time.Second},
		{"ConnectionGrace", &l.ConnectionGrace, 30 * time.Second},
		{"StopTimeout", &l.StopTimeout, 5 * time.Second},
	}
	for _, f := range times {
		if *f.field < 0 {
			return fmt.Errorf("%w: Limits.%s is negative", ErrConfig, f.name)
		}
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	if l.BodyBytes < 0 {
		return fmt.Errorf("%w: Limits.BodyBytes is negative", ErrConfig)
	}
	if l.BodyBytes == 0 {
		l.BodyBytes = 16 << 20
	}
	if l.StreamsPerPeer < 2 {
		return fmt.Errorf("%w: Limits.StreamsPerPeer is below 2", ErrConfig)
	}
	return nil
}
