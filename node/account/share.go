package account

import (
	"time"

	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/store"
)

// Share is how much of one user's KeyPackages that are used once somebody may take: Burst at
// once, and one more each Every. A claim takes one of each device.
type Share struct {
	Burst int
	Every time.Duration
}

func (s Share) or(d Share) Share {
	setDefault(&s.Burst, d.Burst)
	setDefault(&s.Every, d.Every)
	return s
}

// share is what a claim may take of one user: as much as is left of the shares of who asks and of
// that one's provider. Who has had all of its share gets last resorts, and what it has not
// taken is there for others. A device without a last resort gives what it has: nobody who
// has consent is to fail. Users' own devices have no share to look at.
type share struct {
	r    *Registry
	name string
	of   []portion
	read bool // the records are in of
	ok   bool // something is left of each
	took bool // the claim has got one that is used once
}

type portion struct {
	Share
	key  store.Key
	full uint64 // when all of it will be back, Unix milliseconds
}

func (r *Registry) shareOf(c *Claim, name string) *share {
	s := &share{r: r, name: name}
	if c.Probe || c.Requester == c.Target.String() {
		return s
	}
	s.of = []portion{
		{Share: r.cfg.RequesterShare, key: shareKey(name, "requester", c.Requester)},
		{Share: r.cfg.ProviderShare, key: shareKey(name, "provider", c.Provider)},
	}
	return s
}

// allows says whether the claim may have one of a device that is used once.
func (s *share) allows(tx *store.Tx, device string, now time.Time) (bool, error) {
	if !s.read {
		s.read, s.ok = true, true
		for i := range s.of {
			p := &s.of[i]
			full, _, err := get(tx, p.key, parseShare)
			if err != nil {
				return false, err
			}
			p.full = max(full, millis(now))
			s.ok = s.ok && p.full-millis(now) <= uint64(p.Burst-1)*uint64(p.Every/time.Millisecond)
		}
	}
	if s.ok {
		return true, nil
	}
	last, found, err := get(tx, lastResortKey(s.name, device), parseLastResort)
	return err == nil && !(found && last.end >= serveFrom(now)), err
}

// spend writes down what the claim has taken. It does not put off the end of what is over
// the share.
func (s *share) spend(tx *store.Tx, now time.Time) error {
	if !s.took || !s.ok {
		return nil
	}
	for _, p := range s.of {
		full := p.full + uint64(p.Every/time.Millisecond)
		if err := tx.Set(p.key, presentation.AppendU64([]byte{recordVersion}, full)); err != nil {
			return err
		}
	}
	return nil
}

func shareKey(name, kind, who string) store.Key {
	h := hash(shareLabel, []byte(kind), []byte(who))
	return store.SpaceKeyPackages.Key(append(devicePart(5, name, ""), h[:]...))
}

func parseShare(v []byte) (full uint64, err error) {
	err = parse("share", v, func(r *presentation.Reader) { full = r.U64() })
	return full, err
}

func expiredShare(it store.Item, now time.Time) (bool, error) {
	full, err := parseShare(it.Value)
	return full <= millis(now), err
}
