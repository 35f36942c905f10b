package logstore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/hub"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Check says whether a record of one of the spaces that this package writes beside the logs
// of rooms is one of them: SpaceCondemned, SpaceReplica, SpaceBranches, SpaceBans. Whether it
// fits its room is another question. Error: ErrDamaged, or that of room for an entry.
func Check(it store.Item) (err error) {
	var name []byte
	const id = len(room.ID{})
	in := func(sp store.Space) bool {
		var err error
		name, err = sp.Parse(it.Key)
		return err == nil
	}
	bad := func() error { return fmt.Errorf("key of %d bytes: %w", len(name), ErrDamaged) }
	entry := func(seq uint64) error {
		e, err := room.ParseEntry(it.Value)
		if err == nil && (e.Room != room.ID(name[:id]) || e.Seq != seq) {
			err = fmt.Errorf("entry %d of room %.8s under another place: %w", e.Seq, e.Room, ErrDamaged)
		}
		return err
	}
	last := func() uint64 { return binary.BigEndian.Uint64(name[len(name)-8:]) }
	switch {
	case in(store.SpaceBans):
		_, err = readBan(it)
	case in(store.SpaceCondemned) && len(name) == id:
		_, err = parseCondemned(room.ID(name), it.Value)
	case in(store.SpaceCondemned) && isVoted(name):
		_, err = parseVoted(room.ID(name[:id]), string(name[id+1:]), it.Value)
	case in(store.SpaceCondemned) && len(name) == id+8:
		err = entry(last())
	case in(store.SpaceReplica) && len(name) == id+1 && name[id] == replicaState:
		_, _, _, err = parseReplica(room.ID(name[:id]), it.Value, new(names))
	case in(store.SpaceReplica) && len(name) > id+1 && name[id] == replicaVotes:
		_, err = parseHeard(room.ID(name[:id]), string(name[id+1:]), it.Value)
	case in(store.SpaceReplica) && len(name) == id+1+8 && name[id] == replicaEntry:
		err = entry(last())
	case in(store.SpaceReplica) && len(name) == id+1+8 && name[id] == replicaHead:
		_, err = room.ParseSignedHead(it.Value)
	case in(store.SpaceBranches) && len(name) == id+4+1 && name[id+4] == branchRecord:
		_, err = parseBranch(room.ID(name[:id]), binary.BigEndian.Uint32(name[id:]), it.Value)
	case in(store.SpaceBranches) && len(name) == id+4+1+8 && (name[id+4] == branchEntry || name[id+4] == branchMove):
		err = entry(last())
	case in(store.SpaceBranches) && len(name) == id+4+1+8 && name[id+4] == branchHead:
		_, err = room.ParseSignedHead(it.Value)
	default:
		err = bad()
	}
	return err
}

// names stand for providers while one record is read.
type names []string

func (n *names) Name(p hub.Provider) string { return (*n)[p-1] }

func (n *names) Number(domain string) hub.Provider {
	i := slices.Index(*n, domain)
	if i < 0 {
		i = len(*n)
		*n = append(*n, domain)
	}
	return hub.Provider(i + 1)
}
