package account

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/store"
)

// Lifetimes of invites.
const (
	InviteLifetime    = 7 * 24 * time.Hour // unless the operator says otherwise
	MaxInviteLifetime = 365 * 24 * time.Hour
)

// NewInvite says whom an operator invites.
type NewInvite struct {
	// Name that the user will have.
	Name string
	// Lifetime of the invite. Default InviteLifetime, at most MaxInviteLifetime.
	Lifetime time.Duration
	// Replaces lets the invite take over an account: it removes its devices and
	// takes a new user key. For users who have lost all devices.
	Replaces bool
}

// Invite is an invite as an operator sees it.
type Invite struct {
	// ID names the invite in lists and for revoking. It does not help to
	// register.
	ID string
	// User is the URI that the user has or will have.
	User     string
	Created  time.Time
	Expires  time.Time
	Replaces bool
	// Exists says that the user has an account already, to which the invite adds
	// a device.
	Exists bool
	// Used is when a device registered with it; zero if none did. Device is the
	// device's name.
	Used   time.Time
	Device string
}

var inviteEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const inviteSize = 16

// parseInviteCode forgives what happens to codes that people copy: capitals,
// spaces and hyphens.
func parseInviteCode(code string) (h [32]byte, ok bool) {
	code = strings.NewReplacer(" ", "", "-", "").Replace(strings.ToLower(strings.TrimSpace(code)))
	if len(code) != inviteEncoding.EncodedLen(inviteSize) {
		return h, false
	}
	b, err := inviteEncoding.DecodeString(code)
	if err != nil {
		return h, false
	}
	return hash(inviteLabel, b), true
}

func inviteID(h [32]byte) string { return hex.EncodeToString(h[:6]) }

// CheckName says what is wrong with a new user's name.
func (r *Registry) CheckName(name string) error {
	user, err := r.provider.User(name)
	if err != nil || user.Name() != name {
		return invalid("%.200q cannot be a user's name: letters a to z, digits, and - . _ ~ inside", name)
	}
	if len(name) > MaxName {
		return invalid("a user's name of %d octets: at most %d", len(name), MaxName)
	}
	if name != strings.ToLower(name) {
		return invalid("%q has capitals, and names that differ by case only would be confused: use %q", name, strings.ToLower(name))
	}
	return nil
}

// CreateInvite makes an invite and returns its code, which is stored nowhere.
func (r *Registry) CreateInvite(ctx context.Context, n NewInvite) (*Invite, string, error) {
	if err := r.CheckName(n.Name); err != nil {
		return nil, "", err
	}
	if n.Lifetime == 0 {
		n.Lifetime = InviteLifetime
	}
	if n.Lifetime < time.Minute || n.Lifetime > MaxInviteLifetime {
		return nil, "", invalid("an invite for %v: at least a minute, at most %v", n.Lifetime, MaxInviteLifetime)
	}
	code := make([]byte, inviteSize)
	rand.Read(code)
	h := hash(inviteLabel, code)
	now := r.cfg.Now()
	rec := inviteRecord{name: n.Name, created: millis(now), expires: millis(now.Add(n.Lifetime)), replaces: n.Replaces}
	exists := false
	err := r.cfg.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if _, exists, err = get(tx, accountKey(n.Name), parseAccount); err != nil {
			return err
		}
		if n.Replaces && !exists {
			return notFound("there is no user %q whose account the invite could replace", n.Name)
		}
		return tx.Set(inviteKey(h), rec.bytes())
	})
	if err != nil {
		return nil, "", fmt.Errorf("storing invite: %w", err)
	}
	inv, err := r.showInvite(h, rec, exists)
	return inv, inviteEncoding.EncodeToString(code), err
}

func (r *Registry) showInvite(h [32]byte, rec inviteRecord, exists bool) (*Invite, error) {
	user, err := r.provider.User(rec.name)
	if err != nil {
		return nil, fmt.Errorf("reading invite: %w: %w", ErrRecord, err)
	}
	i := &Invite{ID: inviteID(h), User: user.String(), Created: fromMillis(rec.created), Expires: fromMillis(rec.expires),
		Replaces: rec.replaces, Exists: exists}
	if rec.used != nil {
		i.Used, i.Device = fromMillis(rec.used.at), rec.used.device
	}
	return i, nil
}

// Invites lists all invites that have not expired, used ones too, by name and
// time.
func (r *Registry) Invites(context.Context) ([]Invite, error) {
	now := millis(r.cfg.Now())
	var out []Invite
	err := r.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceAccounts.Prefix([]byte{2})}) {
			if err != nil {
				return err
			}
			h, rec, err := inviteItem(it)
			if err != nil {
				return err
			}
			if rec.expires <= now {
				continue
			}
			_, exists, err := get(tx, accountKey(rec.name), parseAccount)
			if err != nil {
				return err
			}
			inv, err := r.showInvite(h, rec, exists)
			if err != nil {
				return err
			}
			out = append(out, *inv)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing invites: %w", err)
	}
	slices.SortFunc(out, func(a, b Invite) int {
		if c := strings.Compare(a.User, b.User); c != 0 {
			return c
		}
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

func inviteItem(it store.Item) (h [32]byte, rec inviteRecord, err error) {
	key, err := store.SpaceAccounts.Parse(it.Key)
	if err != nil || len(key) != 1+32 {
		return h, rec, fmt.Errorf("reading the key of an invite: %w", ErrRecord)
	}
	rec, err = parseInvite(it.Value)
	return [32]byte(key[1:]), rec, err
}

// RevokeInvite removes an invite. What was registered with it stays.
func (r *Registry) RevokeInvite(ctx context.Context, id string) error {
	prefix, err := hex.DecodeString(strings.TrimSpace(id))
	if err != nil || len(prefix) != 6 {
		return invalid("%.40q is no id of an invite: 12 hexadecimal digits, as the list of invites shows them", id)
	}
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		found := false
		scan := store.Scan{Prefix: store.SpaceAccounts.Prefix(append([]byte{2}, prefix...)), KeysOnly: true}
		for it, err := range tx.Scan(scan) {
			if err != nil {
				return err
			}
			found = true
			if err := tx.Delete(it.Key); err != nil {
				return err
			}
		}
		if !found {
			return problem(http.StatusNotFound, clientapi.CodeNotFound, "there is no invite %s", id)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoking invite: %w", err)
	}
	return nil
}

func millis(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }

func fromMillis(ms uint64) time.Time { return time.UnixMilli(int64(ms)) }
