package logstore

import (
	"fmt"
	"slices"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/store"
)

// Votes that a replica has heard and that stand in no hub_change of its log, so that a second
// one in the term of one of them is noticed after a restart, too: in store.SpaceReplica, under
// room[32] 03 voter,
//
//	uint8 version = 1
//	Ballot ballots<V>           {opaque key[32]; SignedVote vote}, rising by term, at most room.MaxBallots
//
// It is no promise of this provider, but what it holds against others. So it is written with
// the next write of the room, and is not waited for: what a crash takes of it is a proof that
// might have been.

const replicaVotes = 3

// MaxHeard is of how many voters of one room votes are kept: more than two replica sets have.
const MaxHeard = 16

func heardKey(id room.ID, voter string) store.Key {
	return store.SpaceReplica.Key(append(append(id[:], replicaVotes), voter...))
}

// PutHeard writes what is remembered of a voter, all of one voter. Where MaxHeard others are kept, one
// goes that is not in members, and if all are nothing is written.
func PutHeard(tx *store.Tx, id room.ID, list []room.Ballot, members []string) error {
	if len(list) == 0 {
		return nil
	}
	voter := list[0].Vote.Voter
	n, old := 0, ""
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceReplica.Prefix(append(id[:], replicaVotes)), KeysOnly: true}) {
		if err != nil {
			return err
		}
		name, err := store.SpaceReplica.Parse(it.Key)
		if err != nil {
			return err
		}
		other := string(name[len(id)+1:])
		if other == voter {
			n, old = 0, ""
			break
		}
		if n++; old == "" && !slices.Contains(members, other) {
			old = other
		}
	}
	if n >= MaxHeard {
		if old == "" {
			return nil
		}
		if err := tx.Delete(heardKey(id, old)); err != nil {
			return err
		}
	}
	return tx.Set(heardKey(id, voter), appendHeard(nil, list))
}

func appendHeard(b []byte, list []room.Ballot) []byte {
	return presentation.AppendList(append(b, version), func(b []byte) []byte {
		for i := range list {
			b = list[i].Vote.Append(append(b, list[i].Key[:]...))
		}
		return b
	})
}

// ReadHeard returns what is kept of a voter; nothing if nothing is. Whether the votes verify is
// for the caller to see. Error: ErrDamaged.
func ReadHeard(tx *store.Tx, id room.ID, voter string) ([]room.Ballot, error) {
	b, err := tx.Get(heardKey(id, voter))
	if err != nil {
		return nil, err
	}
	return parseHeard(id, voter, b)
}

func parseHeard(id room.ID, voter string, b []byte) (out []room.Ballot, err error) {
	r := presentation.NewReader(b)
	n := r.U8()
	r.List(room.MaxBallots, func() {
		var x room.Ballot
		copy(x.Key[:], r.Fixed(len(x.Key)))
		x.Vote.Read(r)
		switch {
		case r.Err() != nil:
		case x.Vote.Room != id || x.Vote.Voter != voter:
			r.Fail(presentation.ErrMalformed, "a vote of %q in room %s", x.Vote.Voter, x.Vote.Room)
		case len(out) > 0 && x.Vote.Term.Compare(out[len(out)-1].Vote.Term) <= 0:
			r.Fail(presentation.ErrMalformed, "a vote in term %s after one in %s", x.Vote.Term, out[len(out)-1].Vote.Term)
		default:
			out = append(out, x)
		}
	})
	if err = r.Done(); err == nil && n != version {
		err = fmt.Errorf("version %d", n)
	}
	if err != nil {
		return nil, fmt.Errorf("room %s: votes of %q: %w: %w", id, voter, err, ErrDamaged)
	}
	return out, nil
}
