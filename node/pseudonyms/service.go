package pseudonyms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/pseudonym"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// ErrConfig: a Config lacks something.
var ErrConfig = errors.New("pseudonyms: incomplete configuration")

// Bounds, of one user.
const (
	// Ready is how many open sets there are.
	Ready = 8
	// MaxPseudonyms is how many pseudonyms a user has at most.
	MaxPseudonyms = 4096
	// MaxGiven is how many sets are given out at once that nobody has used, MaxGivenTo those to
	// one requester.
	MaxGiven, MaxGivenTo = 64, 8
	// MaxKeyPackage bounds a KeyPackage, in octets.
	MaxKeyPackage = 48 << 10
	// maxListed is how many pseudonyms a device is told of at once that lack its KeyPackage.
	maxListed = 64
	// margin is how long a KeyPackage must still be good to be given out.
	margin = time.Minute
	// unusedFor is when a set that was given out and never used is thrown away.
	unusedFor = 60 * 24 * time.Hour
)

// Accounts knows own users; *account.Registry is one.
type Accounts interface {
	// Stock lists the devices of a user; none if there is no such user.
	Stock(ctx context.Context, user uri.User) (*account.Stock, error)
}

// Config configures a Service. All but Now and Log is required.
type Config struct {
	Domain   string
	Store    *store.Store
	Accounts Accounts
	// Authenticator judges real credentials, as it does in open rooms.
	Authenticator mls.Authenticator
	// Admit says what a request for KeyPackages asks for, and whether it may have it.
	Admit func(ctx context.Context, raw []byte, source string) (*Admitted, error)
	// Rooms are where pseudonyms are in use.
	Rooms Rooms
	Now   func() time.Time
	Log   *slog.Logger
}

// Service keeps the pseudonyms of the own users. Safe for concurrent use.
type Service struct {
	cfg      Config
	provider uri.Provider
	mls      mls.Config
}

// New returns a Service. Error: ErrConfig.
func New(c Config) (*Service, error) {
	p, err := uri.ParseDomain(c.Domain)
	if err != nil || c.Store == nil || c.Accounts == nil || c.Authenticator == nil || c.Admit == nil || c.Rooms == nil {
		return nil, fmt.Errorf("%w: Domain, Store, Accounts, Authenticator, Admit and Rooms are required", ErrConfig)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: c, provider: p, mls: room.Config(c.Authenticator)}, nil
}

func problem(status int, code clientapi.Code, format string, args ...any) *clientapi.Problem {
	return &clientapi.Problem{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *clientapi.Problem {
	return problem(http.StatusUnprocessableEntity, clientapi.CodeInvalid, format, args...)
}

func (s *Service) named(uuid string) (uri.User, error) {
	p, err := s.provider.Pseudonym(uuid)
	if err != nil {
		return uri.User{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return p.Participant(), nil
}

// draw makes a pseudonym of a user.
func (s *Service) draw(tx *store.Tx, o *owned) (string, error) {
	p, err := pseudonym.New(s.provider)
	if err != nil {
		return "", err
	}
	uuid := p.Name()
	if err := tx.Set(ownedKey(uuid), o.bytes()); err != nil {
		return "", err
	}
	return uuid, tx.Set(ofKey(o.user, uuid), named(""))
}

// listed are the pseudonyms of a user.
func listed(tx *store.Tx, user string) (out map[string]*owned, err error) {
	out = map[string]*owned{}
	prefix := append(append([]byte{kindOf}, user...), 0)
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpacePseudonyms.Prefix(prefix), KeysOnly: true}) {
		if err != nil {
			return nil, err
		}
		k, err := store.SpacePseudonyms.Parse(it.Key)
		if err != nil || len(k) != len(prefix)+uuidSize {
			return nil, fmt.Errorf("%w: key %v", ErrDamaged, it.Key)
		}
		uuid := string(k[len(prefix):])
		o, found, err := get(tx, ownedKey(uuid), parseOwned)
		if err != nil {
			return nil, err
		}
		if found {
			out[uuid] = o
		}
	}
	return out, nil
}

// Pseudonym is what a user goes by in a room that it begins: one is drawn, or it is the one that
// it has there already.
func (s *Service) Pseudonym(ctx context.Context, who account.Identity, q *clientapi.NewPseudonym) (*clientapi.Pseudonym, error) {
	name, err := uri.ParseRoom(q.Room)
	if err != nil {
		return nil, invalid("the room: %v", err)
	}
	id, user := room.IDOf([]byte(name.String())), who.User.Name()
	var uuid string
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var found bool
		var err error
		if uuid, found, err = get(tx, roomKey(user, id), parseNamed); err != nil || found {
			return err
		}
		all, err := listed(tx, user)
		if err != nil {
			return err
		}
		if len(all) >= MaxPseudonyms {
			return problem(http.StatusTooManyRequests, clientapi.CodeTooMany, "%s has %d pseudonyms, which is the most", who.User, len(all))
		}
		if uuid, err = s.draw(tx, &owned{user: user, room: id, given: s.now(), used: true}); err != nil {
			return err
		}
		return tx.Set(roomKey(user, id), named(uuid))
	})
	if err != nil {
		return nil, fmt.Errorf("drawing a pseudonym: %w", err)
	}
	p, err := s.named(uuid)
	return &clientapi.Pseudonym{Pseudonym: p.String()}, err
}

func (s *Service) now() uint64 { return uint64(max(s.cfg.Now().UnixMilli(), 0)) }

// Wanted lists pseudonyms of the user that lack a KeyPackage of this device, open sets
// among them: as many are drawn as are to be ready.
func (s *Service) Wanted(ctx context.Context, who account.Identity) (*clientapi.WantedPseudonyms, error) {
	out := &clientapi.WantedPseudonyms{Pseudonyms: []string{}}
	mark, err := s.restored()
	if err != nil {
		return nil, fmt.Errorf("listing pseudonyms: %w", err)
	}
	out.Restored = mark
	user := who.User.Name()
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		out.Pseudonyms = out.Pseudonyms[:0]
		all, err := listed(tx, user)
		if err != nil {
			return err
		}
		ready := 0
		want := func(uuid string) error {
			x, found, err := get(tx, broughtKey(uuid, who.Device), parseBrought)
			if err != nil || found && x.end > s.soon() || len(out.Pseudonyms) >= maxListed {
				return err
			}
			p, err := s.named(uuid)
			if err == nil {
				out.Pseudonyms = append(out.Pseudonyms, p.String())
			}
			return err
		}
		for _, uuid := range slices.Sorted(maps.Keys(all)) {
			o := all[uuid]
			switch {
			case o.open():
				ready++
			case !o.used && time.Duration(s.now()-min(o.given, s.now()))*time.Millisecond > unusedFor:
				if err := s.forget(tx, uuid, o); err != nil {
					return err
				}
				continue
			}
			if err := want(uuid); err != nil {
				return err
			}
		}
		for ; ready < Ready && len(all) < MaxPseudonyms; ready++ {
			uuid, err := s.draw(tx, &owned{user: user})
			if err == nil {
				err = want(uuid)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing pseudonyms: %w", err)
	}
	return out, nil
}

// soon is the end at which a KeyPackage is to be replaced, seconds since 1970.
func (s *Service) soon() uint64 {
	return uint64(max(s.cfg.Now().Add(7*24*time.Hour).Unix(), 0))
}

// forget throws a pseudonym away that was given out and that nobody has seen in a room.
func (s *Service) forget(tx *store.Tx, uuid string, o *owned) error {
	if err := s.withdraw(tx, uuid); err != nil {
		return err
	}
	for _, k := range []store.Key{ownedKey(uuid), ofKey(o.user, uuid), roomKey(o.user, o.room)} {
		if err := tx.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) withdraw(tx *store.Tx, uuid string) error {
	list, err := packages(tx, uuid)
	if err != nil {
		return err
	}
	for device, x := range list {
		if err := drop(tx, uuid, device, x); err != nil {
			return err
		}
	}
	return nil
}

func drop(tx *store.Tx, uuid, device string, x *brought) error {
	if err := tx.Delete(refKey(x.ref[:])); err != nil {
		return err
	}
	return tx.Delete(broughtKey(uuid, device))
}

// packages are the KeyPackages under a pseudonym, by device.
func packages(tx *store.Tx, uuid string) (map[string]*brought, error) {
	out := map[string]*brought{}
	prefix := append([]byte{kindBrought}, uuid...)
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpacePseudonyms.Prefix(prefix)}) {
		if err != nil {
			return nil, err
		}
		k, err := store.SpacePseudonyms.Parse(it.Key)
		if err != nil {
			return nil, err
		}
		x, err := parseBrought(it.Value)
		if err != nil {
			return nil, err
		}
		out[string(k[len(prefix):])] = x
	}
	return out, nil
}

// Bring stores KeyPackages of a device under pseudonyms of its user, all or none. Each holds
// the device's real credential in an identity link, which is opened here with the key that comes
// along, so that nobody is given a KeyPackage that is of no use.
func (s *Service) Bring(ctx context.Context, who account.Identity, n *clientapi.PseudonymousKeyPackages) error {
	type one struct {
		uuid string
		x    *brought
	}
	if len(n.KeyPackages) > maxListed {
		return problem(http.StatusRequestEntityTooLarge, clientapi.CodeTooLarge, "%d KeyPackages at once: at most %d", len(n.KeyPackages), maxListed)
	}
	var all []one
	for i, p := range n.KeyPackages {
		x, c, err := s.check(who, &p)
		if err != nil {
			return invalid("key_packages[%d]: %v", i, err)
		}
		all = append(all, one{c.User.Name(), x})
	}
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for i, a := range all {
			o, found, err := get(tx, ownedKey(a.uuid), parseOwned)
			switch {
			case err != nil:
				return err
			case !found || o.user != who.User.Name():
				return invalid("key_packages[%d]: its pseudonym is none of %s", i, who.User)
			}
			if old, found, err := get(tx, broughtKey(a.uuid, who.Device), parseBrought); err != nil {
				return err
			} else if found {
				if err := drop(tx, a.uuid, who.Device, old); err != nil {
					return err
				}
			}
			if err := tx.Set(broughtKey(a.uuid, who.Device), a.x.bytes()); err != nil {
				return err
			}
			if err := tx.Set(refKey(a.x.ref[:]), named(a.uuid+who.Device)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("taking KeyPackages under pseudonyms: %w", err)
	}
	return nil
}

func (s *Service) check(who account.Identity, p *clientapi.PseudonymousKeyPackage) (*brought, *pseudonym.Credential, error) {
	if len(p.KeyPackage) > MaxKeyPackage {
		return nil, nil, fmt.Errorf("%d octets, at most %d", len(p.KeyPackage), MaxKeyPackage)
	}
	kp, err := mls.ParseKeyPackage(p.KeyPackage, s.mls.Limits)
	if err != nil {
		return nil, nil, err
	}
	now := s.cfg.Now()
	valid, err := kp.Verify(s.mls, now)
	if err != nil {
		return nil, nil, err
	}
	c, err := pseudonym.Of(kp.Leaf.Credential, kp.Leaf.SignatureKey)
	if err != nil {
		return nil, nil, err
	}
	k, err := pseudonym.OwnKey(p.Key)
	if err != nil {
		return nil, nil, err
	}
	claim, err := c.Open(k, uri.Room{})
	if err != nil {
		return nil, nil, err
	}
	link, err := claim.Verify(pseudonym.X509{Authenticator: s.cfg.Authenticator}, now)
	switch {
	case err != nil:
		return nil, nil, err
	case link.User() != who.User:
		return nil, nil, fmt.Errorf("its identity is %s", link.User())
	case kp.Suite != room.Suite:
		return nil, nil, fmt.Errorf("cipher suite %v, %v expected", kp.Suite, room.Suite)
	case kp.LastResort(s.mls.Limits):
		return nil, nil, errors.New("a last resort, by which rooms could be linked")
	}
	return &brought{end: kp.Leaf.Lifetime.NotAfter, ref: [32]byte(valid.Ref()), key: [keySize]byte(p.Key), kp: p.KeyPackage}, c, nil
}

// User returns whose pseudonym somebody in a room is; the zero User if it is nobody's here.
func (s *Service) User(tx *store.Tx, p uri.User, name uri.Room) (uri.User, error) {
	if p.Provider() != s.provider {
		return uri.User{}, nil
	}
	if _, ok := p.Pseudonym(); !ok {
		return uri.User{}, nil
	}
	o, found, err := get(tx, ownedKey(p.Name()), parseOwned)
	if err != nil || !found || o.room != room.IDOf([]byte(name.String())) {
		return uri.User{}, err
	}
	return s.provider.User(o.user)
}

// In returns what a user goes by in a room; the zero User if that is nothing.
func (s *Service) In(tx *store.Tx, u uri.User, name uri.Room) (uri.User, error) {
	uuid, found, err := get(tx, roomKey(u.Name(), room.IDOf([]byte(name.String()))), parseNamed)
	if err != nil || !found {
		return uri.User{}, err
	}
	return s.named(uuid)
}

// Joined says, in the caller's transaction, that a Welcome to these KeyPackages is on its way
// to their devices: they are used. Others' are ignored.
func (s *Service) Joined(tx *store.Tx, refs ...[]byte) error {
	for _, ref := range refs {
		at, found, err := get(tx, refKey(ref), parseNamed)
		if err != nil {
			return err
		}
		if !found || len(at) <= uuidSize {
			continue
		}
		uuid, device := at[:uuidSize], at[uuidSize:]
		x, found, err := get(tx, broughtKey(uuid, device), parseBrought)
		if err != nil {
			return err
		}
		if found {
			if err := drop(tx, uuid, device, x); err != nil {
				return err
			}
		}
		o, found, err := get(tx, ownedKey(uuid), parseOwned)
		if err != nil {
			return err
		}
		if found && !o.used {
			o.used = true
			if err := tx.Set(ownedKey(uuid), o.bytes()); err != nil {
				return err
			}
		}
	}
	return nil
}
