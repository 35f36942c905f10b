package contact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/verification"
	"github.com/mimid/mimid/store"
)

// Numbers change hands, so an identifier of an own user may be claimed by somebody else by now.
// Searchers see both; the own user learns of it because this provider looks up what its users
// have published, as any searcher would, each once a day, one after the other. Devices could
// do it themselves, but are away for long, and would pay for it with their evaluations. For
// each look that costs one search in the DHT and two calls to each other provider that
// announces the identifier; nothing is derived or evaluated, the secret is stored. Handles are
// left out: each provider hands them out by itself, and several owners are normal.

const (
	// lookEach is how often a claim is looked up.
	lookEach = 24 * time.Hour
	// maxRivals is how many rivals of one claim are kept: as many claims as an announcer may
	// show; further ones are not told apart.
	maxRivals = 16
)

// WatchRivals looks for others who claim what own users have published, until ctx ends.
func (s *Service) WatchRivals(ctx context.Context) error {
	timer := time.NewTimer(s.cfg.Limits.LookPause)
	defer timer.Stop()
	var at watching
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := s.lookOnce(ctx, &at); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
				return fmt.Errorf("looking for rivals: %w", err)
			}
			s.cfg.Log.Error("rivals of a claim could not be looked for", "err", err)
		}
		timer.Reset(s.cfg.Limits.LookPause)
	}
}

// watching is how far a round through all claims has got. After a restart a round begins
// anew; with more claims than a day has looks, a round takes as long as it takes.
type watching struct {
	began time.Time
	after store.Key // the last claim that was looked up; zero at the beginning
	ended bool
}

// lookOnce looks up the next claim that is due, if there is one.
func (s *Service) lookOnce(ctx context.Context, at *watching) error {
	now := s.cfg.Now()
	if at.began.IsZero() || at.ended && now.Sub(at.began) >= lookEach {
		*at = watching{began: now}
	}
	if at.ended {
		return nil
	}
	c, err := s.nextClaim(at, now)
	if err != nil {
		return err
	}
	if c == nil {
		at.ended = true
		return nil
	}
	return s.lookFor(ctx, c, now)
}

// scanAtOnce is how many keys are passed over at one time.
const scanAtOnce = 1000

// nextClaim returns the next claim that is to be looked up, or nil at the end.
func (s *Service) nextClaim(at *watching, now time.Time) (next *claimRecord, err error) {
	for more := true; more && next == nil; {
		more = false
		err = s.cfg.Store.View(func(tx *store.Tx) error {
			scan := store.Scan{Prefix: store.SpaceClaims.Prefix([]byte{claimOf}), From: at.after, Limit: scanAtOnce}
			n := 0
			for it, err := range tx.Scan(scan) {
				if err != nil {
					return err
				}
				if n++; it.Key == at.after {
					continue
				}
				at.after = it.Key
				c, err := parseClaimRecord(it.Key, it.Value)
				if err != nil {
					return err
				}
				if !c.withdrawn && c.ends > millis(now) && c.sii.Kind() != discovery.KindHandle {
					next = c
					return nil
				}
			}
			more = n == scanAtOnce
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading claims: %w", err)
		}
	}
	return next, nil
}

// lookFor looks for others who claim what c claims, and tells its user if they are others
// than the last time. An announcer that does not answer takes nobody off the list, as long
// as the claim that was seen has not ended.
func (s *Service) lookFor(ctx context.Context, c *claimRecord, now time.Time) error {
	own, err := discovery.ParseClaim(c.claim)
	if err != nil {
		return fmt.Errorf("%w: claim: %w", ErrDamaged, err)
	}
	v, err := own.Verify(c.secret, s.cfg.Anchors, now)
	if err != nil {
		return nil // it waits for its renewal, and nobody finds it either
	}
	found, err := s.verified(c.secret, now)
	if err != nil {
		return err
	}
	more, _, failed, err := s.search(ctx, s.named(), c.secret, now)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var list []rival
	for _, o := range discovery.Group(append(found, more...)).Owners {
		if o.Key == v.KeyID() {
			continue
		}
		for _, x := range o.Claims {
			standing, by := s.judge(ctx, x, now)
			list = append(list, rival{user: x.User(), key: o.Key, issued: millis(x.Issued()), ends: millis(x.Expires()), standing: standing, authority: by.Authority()})
		}
	}
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		was, err := readClaim(tx, c.user, c.secret.ClaimID())
		if err != nil || was == nil || was.withdrawn {
			return err // meanwhile
		}
		old, err := readRivals(tx, c.user, c.secret.ClaimID())
		if err != nil {
			return err
		}
		if failed > 0 {
			list = keep(list, old, millis(now))
		}
		return s.putRivals(tx, c, old, list[:min(len(list), maxRivals)])
	})
}

// keep adds the rivals that were seen before and not now to those that were.
func keep(list, old []rival, now uint64) []rival {
	for _, o := range old {
		there := o.ends <= now
		for _, x := range list {
			there = there || x.user == o.user && x.key == o.key
		}
		if !there {
			list = append(list, o)
		}
	}
	return list
}

func (s *Service) putRivals(tx *store.Tx, c *claimRecord, old, list []rival) error {
	k := rivalsKey(c.user, c.secret.ClaimID())
	if bytes.Equal(rivalBytes(old), rivalBytes(list)) {
		return nil
	}
	var err error
	if len(list) == 0 {
		err = tx.Delete(k)
	} else {
		err = tx.Set(k, rivalBytes(list))
	}
	if err != nil {
		return err
	}
	return s.cfg.Feed.Put(tx, c.user, clientapi.EventRivals, clientapi.RivalsEvent{SII: c.sii.String(), Rivals: showRivals(list)})
}

// rival is a claim of another user key to an own user's identifier.
type rival struct {
	user         uri.User
	key          [sha256.Size]byte
	issued, ends uint64
	standing     verification.Standing
	authority    string
}

var standings = []verification.Standing{verification.ByNobody, verification.ByProvider, verification.ByAuthority} // by their numbers in records

func rivalBytes(list []rival) []byte {
	return presentation.AppendList([]byte{version}, func(b []byte) []byte {
		for _, x := range list {
			b = presentation.AppendOpaque(b, []byte(x.user.String()))
			b = append(b, x.key[:]...)
			b = presentation.AppendU64(presentation.AppendU64(b, x.issued), x.ends)
			n := byte(0)
			for i, st := range standings {
				if st == x.standing {
					n = byte(i)
				}
			}
			b = presentation.AppendOpaque(append(b, n), []byte(x.authority))
		}
		return b
	})
}

func parseRivals(b []byte) (list []rival, err error) {
	r := presentation.NewReader(b)
	if v := r.U8(); v != version && r.Err() == nil {
		return nil, fmt.Errorf("%w: rivals of version %d", ErrDamaged, v)
	}
	r.List(maxRivals, func() {
		var x rival
		u, err := uri.ParseUser(string(r.Opaque()))
		if err != nil {
			r.Fail(presentation.ErrMalformed, "user of a rival")
		}
		x.user = u
		copy(x.key[:], r.Fixed(len(x.key)))
		x.issued, x.ends = r.U64(), r.U64()
		if n := int(r.U8()); n < len(standings) {
			x.standing = standings[n]
		} else {
			r.Fail(presentation.ErrMalformed, "standing %d", n)
		}
		x.authority = string(r.Opaque())
		list = append(list, x)
	})
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("%w: rivals: %w", ErrDamaged, err)
	}
	return list, nil
}

func rivalsKey(user uri.User, id [discovery.KeySize]byte) store.Key {
	b := append(append([]byte{rivals}, user.String()...), 0)
	return store.SpaceClaims.Key(append(b, id[:]...))
}

func readRivals(tx *store.Tx, user uri.User, id [discovery.KeySize]byte) ([]rival, error) {
	b, err := tx.Get(rivalsKey(user, id))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading rivals: %w", err)
	}
	return parseRivals(b)
}

func showRivals(list []rival) []clientapi.Rival {
	out := []clientapi.Rival{}
	for _, x := range list {
		out = append(out, clientapi.Rival{User: x.user.String(), Verified: string(x.standing), Authority: x.authority, Issued: int64(x.issued), Expires: int64(x.ends)})
	}
	return out
}
