package snapshot

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"github.com/mimid/mimid/protocol/onion"
	"github.com/mimid/mimid/protocol/onion/relays"
	"github.com/mimid/mimid/simulations/engine"
	"github.com/mimid/mimid/simulations/mixnet"
)

const delay = 500 * time.Millisecond

// thirdOf is how many of n witnesses two quorums share at least: with fewer that are hostile no two lists can be valid.
func thirdOf(n int) int { return 2*relays.Quorum(n) - n }

type count struct{ bad, all int }

type attack struct {
	p       Parameters
	e       *engine.Engine
	rand    *rand.Rand
	random  io.Reader // of paths
	beacon  io.Reader // of what lists end in
	seed    uint64
	list    []mixnet.Relay
	hostile []bool
	names   []string // of the witnesses, the hostile ones first
	keys    []ed25519.PrivateKey
	public  relays.Witnesses
	before  [32]byte // hash of the honest list before

	captured, denied, others, proven int
	ofVictim, ofOthers, unsigned     count

	check *check
	plant planted
}

func newAttack(e *engine.Engine, p Parameters) *attack {
	a := &attack{p: p, e: e, rand: e.Rand("witnesses"), random: mixnet.Random(e.Rand("paths")), beacon: mixnet.Random(e.Rand("grinding")), seed: e.Rand("keys").Uint64(), public: relays.Witnesses{}, hostile: make([]bool, p.Relays)}
	for i := range p.Relays {
		a.list = append(a.list, mixnet.Own(i))
	}
	for _, i := range e.Rand("hostile").Perm(p.Relays)[:int(math.Round(p.Bad*float64(p.Relays)))] {
		a.hostile[i] = true
	}
	for i := range p.Witnesses {
		seed := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("witness"), a.seed), uint64(i)))
		key := ed25519.NewKeyFromSeed(seed[:])
		name := fmt.Sprintf("w%d.example", i)
		a.names, a.keys = append(a.names, name), append(a.keys, key)
		a.public[name] = key.Public().(ed25519.PublicKey)
	}
	beacon := e.Rand("beacon")
	for i := range a.before {
		a.before[i] = byte(beacon.Uint32())
	}
	return a
}

// directory makes a list, with the traffic that allows the width.
func (a *attack) directory(epoch onion.Epoch, before [32]byte, only func(i int) bool) (*mixnet.Directory, error) {
	return mixnet.NewDirectory(a.seed, mixnet.Epoch{Number: epoch, Previous: before, Rate: (7*float64(a.p.Width) + .5) / delay.Seconds(), Delay: delay,
		Format: onion.Format{Suite: onion.X25519, Class: onion.Class8K}, Only: only}, a.list)
}

// epoch makes the two lists of an epoch, has them signed, and looks at who takes which.
func (a *attack) epoch(k int) error {
	epoch := onion.Epoch(500_000 + k)
	honest, err := a.directory(epoch, a.before, nil)
	if err != nil {
		return err
	}
	second, err := a.directory(epoch, a.before, func(i int) bool { return a.hostile[i] })
	if err != nil {
		return err
	}
	var signedHonest, signedSecond []relays.Cosignature
	for i := range a.names {
		first, other := a.rand.Float64() < .5, a.rand.Float64() < a.p.Careless
		sign := func(d *mixnet.Directory) relays.Cosignature {
			return relays.Cosign(a.names[i], a.keys[i], epoch, d.Cosigned.Hash())
		}
		switch {
		case i < a.p.Hostile:
			signedSecond = append(signedSecond, sign(second))
			if !a.p.Withhold {
				signedHonest = append(signedHonest, sign(honest))
			}
		case other && first:
			signedSecond = append(signedSecond, sign(second))
		default:
			signedHonest = append(signedHonest, sign(honest))
		}
	}
	// The victim gets what the attacker has: the second list. Others get both, and take what is valid.
	victim, err := a.take(second, epoch, signedSecond)
	if err != nil {
		return err
	}
	everybody, err := a.take(honest, epoch, signedHonest)
	if err != nil {
		return err
	}
	if victim {
		a.captured++
	} else {
		a.denied++
	}
	if !everybody {
		a.others++
	}
	proof := a.proof(signedHonest, signedSecond)
	if proof {
		a.proven++
	}
	a.check.signed(signedHonest, signedSecond, proof, victim && everybody)
	a.e.Note(uint64(len(signedSecond))<<16 | uint64(len(signedHonest)))
	for _, x := range []struct {
		d    *mixnet.Directory
		n    *count
		send bool
	}{{second, &a.ofVictim, victim}, {honest, &a.ofOthers, everybody}, {second, &a.unsigned, true}} {
		if x.send {
			if err := a.send(x.d, x.n); err != nil {
				return err
			}
		}
	}
	a.before = honest.Cosigned.Hash()
	return nil
}

// take tells whether a node takes a list of an epoch with its cosignatures, and whether an old list is refused, as it has to be.
func (a *attack) take(d *mixnet.Directory, epoch onion.Epoch, signed []relays.Cosignature) (bool, error) {
	s := d.Cosigned.Snapshot()
	b, err := s.Bytes()
	if err != nil {
		return false, err
	}
	if a.verify(b, epoch+1, signed) == nil {
		a.check.stale(epoch)
	}
	err = a.verify(b, epoch, signed)
	if err != nil && !errors.Is(err, relays.ErrCosignatures) {
		return false, err
	}
	a.check.taken(epoch, len(signed), err == nil)
	return err == nil, nil
}

func (a *attack) verify(list []byte, epoch onion.Epoch, signed []relays.Cosignature) error {
	if a.plant.verify != nil {
		return a.plant.verify(list, epoch, signed)
	}
	_, err := a.public.Verify(list, epoch, signed)
	return err
}

func (a *attack) contradicts(one, other relays.Cosignature) bool {
	if a.plant.contradicts != nil {
		return a.plant.contradicts(one, other)
	}
	return one.Contradicts(other, a.public[one.Witness])
}

// proof tells whether some witness is shown to have signed two lists.
func (a *attack) proof(one, other []relays.Cosignature) bool {
	for _, x := range one {
		for _, y := range other {
			if a.contradicts(x, y) {
				return true
			}
		}
	}
	return false
}

// send draws paths of packets among the relays of a list, to providers of any relay.
func (a *attack) send(d *mixnet.Directory, n *count) error {
	act, err := d.Cosigned.Active()
	if errors.Is(err, relays.ErrTooFew) {
		return nil // too few hostile relays for a list of their own
	}
	if err != nil {
		return err
	}
	for range a.p.Packets {
		exit := a.rand.IntN(len(d.All))
		path, err := act.Path(a.random, nil, d.All[exit])
		if errors.Is(err, relays.ErrNoPath) {
			continue
		}
		if err != nil {
			return err
		}
		n.all++
		all := true
		for _, h := range path[:relays.Layers] {
			all = all && a.hostile[d.Number(h.Node)]
		}
		if a.plant.hostile != nil {
			all = a.plant.hostile(all)
		}
		if all {
			n.bad++
		}
		if n == &a.ofOthers {
			a.check.path(all, a.chance(d, act, exit))
		}
	}
	return nil
}

// chance is how likely a path to a provider has hostile relays only, among the layers of a list.
func (a *attack) chance(d *mixnet.Directory, act *relays.Active, exit int) float64 {
	chance := 1.0
	for _, layer := range act.Layers {
		bad, may := 0, 0
		for _, r := range layer {
			if i := d.Number(r.Node()); i != exit {
				may++
				if a.hostile[i] {
					bad++
				}
			}
		}
		chance *= float64(bad) / float64(may)
	}
	return chance
}

// grind is how likely a path is all hostile after one more try of who makes the list before: it changes something in it until the choice
// of relays that follows from its hash pleases.
func (a *attack) grind() (float64, error) {
	var before [32]byte
	if _, err := a.beacon.Read(before[:]); err != nil {
		return 0, err
	}
	d, err := a.directory(499_999, before, nil)
	if err != nil {
		return 0, err
	}
	act, err := d.Cosigned.Active()
	if err != nil {
		return 0, err
	}
	return a.chance(d, act, -1), nil
}
