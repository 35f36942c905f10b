package contact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// MaxExceptions is how many exceptions from its mode a user may make.
const MaxExceptions = 256

// modeKey is that of a user's mode, or of its exception for a user's URI or a domain.
func modeKey(target uri.User, except string) store.Key {
	b := append([]byte{modeKind}, target.String()...)
	return store.SpaceConsent.Key(append(append(b, 0), except...))
}

// ruling is a stored mode. The revision is that of the user's mode only: how often the modes
// were set.
type ruling struct {
	mode     consent.Mode
	revision uint64
}

func (v ruling) bytes() []byte {
	return presentation.AppendU64([]byte{version, byte(v.mode)}, v.revision)
}

func parseRuling(b []byte) (v ruling, err error) {
	r := presentation.NewReader(b)
	of := r.U8()
	v = ruling{consent.Mode(r.U8()), r.U64()}
	if err := r.Done(); err != nil || of != version || !v.mode.Valid() {
		return v, fmt.Errorf("%w: mode %d of version %d, %w", ErrDamaged, v.mode, of, errors.Join(err))
	}
	return v, nil
}

// readRuling returns the zero value for what is not set.
func readRuling(tx *store.Tx, target uri.User, except string) (v ruling, err error) {
	b, err := tx.Get(modeKey(target, except))
	if errors.Is(err, store.ErrNotFound) {
		return v, nil
	}
	if err == nil {
		v, err = parseRuling(b)
	}
	if err != nil {
		return v, fmt.Errorf("reading mode of consent: %w", err)
	}
	return v, nil
}

// modeFor reads the mode that holds for a requester. It reads the same three records
// whoever the target is, and whether or not there is one: how long a refusal takes must not
// tell.
func (s *Service) modeFor(tx *store.Tx, target, requester uri.User) (consent.Mode, error) {
	contact, err1 := readRuling(tx, target, requester.String())
	provider, err2 := readRuling(tx, target, requester.Provider().Domain())
	user, err3 := readRuling(tx, target, "")
	if user.mode == consent.Unset {
		user.mode = s.cfg.Mode
	}
	return consent.Resolve(contact.mode, provider.mode, user.mode), errors.Join(err1, err2, err3)
}

// ModeFor reads the mode that holds for somebody of a provider who has not said who it is.
func (s *Service) ModeFor(tx *store.Tx, target uri.User, domain string) (consent.Mode, error) {
	provider, err1 := readRuling(tx, target, domain)
	user, err2 := readRuling(tx, target, "")
	if user.mode == consent.Unset {
		user.mode = s.cfg.Mode
	}
	return consent.Resolve(consent.Unset, provider.mode, user.mode), errors.Join(err1, err2)
}

// ConsentModes are the user's mode and its exceptions.
func (s *Service) ConsentModes(_ context.Context, who account.Identity) (*clientapi.ConsentModes, error) {
	out := &clientapi.ConsentModes{Mode: s.cfg.Mode.String(), Exceptions: []clientapi.ConsentException{}}
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: modesOf(who.User)}) {
			if err != nil {
				return err
			}
			_, except, err := parseModeKey(it.Key)
			if err != nil {
				return err
			}
			v, err := parseRuling(it.Value)
			if err != nil {
				return err
			}
			if except == "" {
				out.Mode, out.Revision = v.mode.String(), v.revision
				continue
			}
			out.Exceptions = append(out.Exceptions, clientapi.ConsentException{Who: except, Mode: v.mode.String()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading modes of consent: %w", err)
	}
	return out, nil
}

func modesOf(u uri.User) store.Prefix {
	return store.SpaceConsent.Prefix(append(append([]byte{modeKind}, u.String()...), 0))
}

func parseModeKey(k store.Key) (target, except string, err error) {
	name, err := store.SpaceConsent.Parse(k)
	if err != nil {
		return "", "", err
	}
	target, except, ok := strings.Cut(string(name[1:]), "\x00")
	if _, err := uri.ParseUser(target); !ok || err != nil {
		return "", "", fmt.Errorf("%w: key of a mode: %w", ErrDamaged, errors.Join(err))
	}
	if except != "" {
		if _, err := exceptionOf(except); err != nil {
			return "", "", fmt.Errorf("%w: key of an exception: %w", ErrDamaged, err)
		}
	}
	return target, except, nil
}

// exceptionOf reads whom an exception is for: the URI of a user, or a domain.
func exceptionOf(who string) (string, error) {
	if strings.Contains(who, "/") {
		u, err := uri.ParseUser(who)
		return u.String(), err
	}
	p, err := uri.ParseDomain(who)
	return p.Domain(), err
}

// SetConsentModes replaces the user's mode and all its exceptions. It returns when that is
// durable, with the new revision.
func (s *Service) SetConsentModes(ctx context.Context, who account.Identity, m *clientapi.ConsentModes) (*clientapi.ConsentModes, error) {
	next, bad := parseModes(who.User, m)
	if bad != nil {
		return nil, bad
	}
	now := s.cfg.Now()
	if ok, wait := s.sent.Take(who.User.String(), 1, now); !ok {
		return nil, tooMany(wait, "%s has sent many words on consent: wait", who.User)
	}
	out := *m
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		old, err := readRuling(tx, who.User, "")
		if err != nil {
			return err
		}
		if old.revision != m.Revision {
			return problem(http.StatusConflict, clientapi.CodeRevision, "the modes were set by another device meanwhile (revision %d, you have read %d): read them anew", old.revision, m.Revision)
		}
		var gone []store.Key
		for it, err := range tx.Scan(store.Scan{Prefix: modesOf(who.User), KeysOnly: true}) {
			if err != nil {
				return err
			}
			gone = append(gone, it.Key)
		}
		for _, k := range gone {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		out.Revision = old.revision + 1
		for except, mode := range next {
			if err := tx.Set(modeKey(who.User, except), ruling{mode, 0}.bytes()); err != nil {
				return err
			}
		}
		if err := tx.Set(modeKey(who.User, ""), ruling{next[""], out.Revision}.bytes()); err != nil {
			return err
		}
		return s.cfg.Feed.Put(tx, who.User, clientapi.EventModes, clientapi.ModesEvent{Revision: out.Revision})
	})
	if err != nil {
		return nil, fmt.Errorf("storing modes of consent: %w", err)
	}
	return &out, nil
}

// parseModes returns the modes by whom they are for, "" for everybody, and writes m as it
// will be read.
func parseModes(user uri.User, m *clientapi.ConsentModes) (map[string]consent.Mode, *clientapi.Problem) {
	mode := func(name string) (consent.Mode, *clientapi.Problem) {
		v, ok := consent.ParseMode(name)
		if !ok {
			return v, invalid("%.40q is no mode: ask, open, quarantine or closed", name)
		}
		return v, nil
	}
	if len(m.Exceptions) > MaxExceptions {
		return nil, invalid("%d exceptions: at most %d", len(m.Exceptions), MaxExceptions)
	}
	own, bad := mode(m.Mode)
	if bad != nil {
		return nil, bad
	}
	next := map[string]consent.Mode{"": own}
	list := []clientapi.ConsentException{}
	for _, x := range m.Exceptions {
		who, err := exceptionOf(x.Who)
		if err != nil {
			return nil, invalid("an exception for %.200q, which is neither a user such as mimi://biloxi.example/u/bob nor a domain: %v", x.Who, err)
		}
		if who == user.String() {
			return nil, invalid("an exception for %s itself, which needs no consent", user)
		}
		if _, twice := next[who]; twice {
			return nil, invalid("two exceptions for %s", who)
		}
		v, bad := mode(x.Mode)
		if bad != nil {
			return nil, bad
		}
		next[who] = v
		list = append(list, clientapi.ConsentException{Who: who, Mode: x.Mode})
	}
	slices.SortFunc(list, func(a, b clientapi.ConsentException) int { return strings.Compare(a.Who, b.Who) })
	m.Exceptions = list
	return next, nil
}
