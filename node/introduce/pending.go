package introduce

import (
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/consent"
	"github.com/mimid/mimid/protocol/introduction"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/store"
)

// pending is a request that waits for its target's answer, or was answered with yes.
type pending struct {
	granted   bool
	at, until time.Time
	target    uri.User
	issuer    string
	text      string
}

func pendingKey(h introduction.Handle) store.Key {
	return store.SpaceTokens.Key(append([]byte{kindPending}, h[:]...))
}

func ofTarget(u uri.User) []byte { return append(append([]byte{kindTarget}, u.String()...), 0) }

func targetKey(u uri.User, h introduction.Handle) store.Key {
	return store.SpaceTokens.Key(append(ofTarget(u), h[:]...))
}

func spentKey(c *introduction.Checked) store.Key {
	return numbered(kindSpent, uint32(c.Week), c.Token.KeyID[:], c.Token.Nonce[:])
}

func countKey(w introduction.Week, issuer string) store.Key {
	return numbered(kindCount, uint32(w), []byte(issuer))
}

func decoyKey() store.Key { return store.SpaceTokens.Key([]byte{kindDecoy}) }

func (p *pending) bytes() []byte {
	b := []byte{recordVersion, 0}
	if p.granted {
		b[1] = 1
	}
	b = presentation.AppendU64(b, uint64(max(p.at.UnixMilli(), 0)))
	b = presentation.AppendU64(b, uint64(max(p.until.UnixMilli(), 0)))
	for _, s := range []string{p.target.String(), p.issuer, p.text} {
		b = presentation.AppendOpaque(b, []byte(s))
	}
	return b
}

// parsePending reads what is behind the version.
func parsePending(b []byte) (*pending, error) {
	r := presentation.NewReader(b)
	granted := r.U8()
	p := &pending{granted: granted == 1, at: milliseconds(r.U64()), until: milliseconds(r.U64())}
	target := string(r.Opaque())
	p.issuer, p.text = string(r.Opaque()), string(r.Opaque())
	err := r.Done()
	if err == nil {
		p.target, err = uri.ParseUser(target)
	}
	if err != nil || granted > 1 {
		return nil, fmt.Errorf("%w: an anonymous request", ErrDamaged)
	}
	return p, nil
}

func milliseconds(n uint64) time.Time { return time.UnixMilli(int64(min(n, 1<<62))) }

// readPending returns nil for none.
func readPending(tx *store.Tx, h introduction.Handle) (*pending, error) {
	b, err := get(tx, pendingKey(h))
	if err != nil || b == nil {
		return nil, err
	}
	return parsePending(b)
}

func (p *pending) write(tx *store.Tx, h introduction.Handle) error {
	return errors.Join(tx.Set(pendingKey(h), p.bytes()), tx.Set(targetKey(p.target, h), append([]byte{recordVersion}, p.issuer...)))
}

func (p *pending) drop(tx *store.Tx, h introduction.Handle) error {
	return errors.Join(tx.Delete(pendingKey(h)), tx.Delete(targetKey(p.target, h)))
}

func (p *pending) shown(h introduction.Handle) clientapi.Introduction {
	return clientapi.Introduction{Handle: hex.EncodeToString(h[:]), Provider: p.issuer, Text: p.text, At: p.at.UnixMilli(), Until: p.until.UnixMilli()}
}

// handlesOf are those of a user's requests; what belongs to them says from which issuer.
func handlesOf(tx *store.Tx, u uri.User) iter.Seq2[introduction.Handle, error] {
	return func(yield func(introduction.Handle, error) bool) {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceTokens.Prefix(ofTarget(u)), KeysOnly: true}) {
			var h introduction.Handle
			if err == nil {
				_, h, err = parseTarget(it.Key)
			}
			if !yield(h, err) || err != nil {
				return
			}
		}
	}
}

func parseTarget(k store.Key) (u uri.User, h introduction.Handle, err error) {
	name, err := store.SpaceTokens.Parse(k)
	if err != nil || len(name) < 2+len(h) || name[len(name)-len(h)-1] != 0 {
		return u, h, fmt.Errorf("%w: a key of %d octets", ErrDamaged, len(name))
	}
	if u, err = uri.ParseUser(string(name[1 : len(name)-len(h)-1])); err != nil {
		return u, h, fmt.Errorf("%w: a key of no user", ErrDamaged)
	}
	return u, introduction.Handle(name[len(name)-len(h):]), nil
}

// waitingFor counts a user's requests by issuer, with those that were answered with yes. There are few.
func waitingFor(tx *store.Tx, u uri.User) (out []consent.Waiting, err error) {
	for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceTokens.Prefix(ofTarget(u))}) {
		if err != nil {
			return nil, err
		}
		issuer, err := body(it.Value)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out, func(w consent.Waiting) bool { return w.Provider == string(issuer) })
		if i < 0 {
			i, out = len(out), append(out, consent.Waiting{Provider: string(issuer)})
		}
		out[i].Requests++
	}
	return out, nil
}

// displace forgets the newest of an issuer's requests to a user that was not answered, of one time
// that with the last handle. It says whether there was one.
func displace(tx *store.Tx, u uri.User, issuer string) (bool, error) {
	var gone *pending
	var handle introduction.Handle
	for h, err := range handlesOf(tx, u) { // in the order of handles
		if err != nil {
			return false, err
		}
		p, err := readPending(tx, h)
		if err != nil {
			return false, err
		}
		if p != nil && !p.granted && p.issuer == issuer && (gone == nil || !p.at.Before(gone.at)) {
			gone, handle = p, h
		}
	}
	if gone == nil {
		return false, nil
	}
	return true, gone.drop(tx, handle)
}

func readCount(tx *store.Tx, w introduction.Week, issuer string) (int, error) {
	b, err := get(tx, countKey(w, issuer))
	if err != nil || b == nil {
		return 0, err
	}
	return parseCount(b)
}

func parseCount(b []byte) (int, error) {
	r := presentation.NewReader(b)
	n := r.U32()
	if err := r.Done(); err != nil {
		return 0, fmt.Errorf("%w: a count of tokens", ErrDamaged)
	}
	return int(n), nil
}

func appendCount(n int) []byte { return presentation.AppendU32([]byte{recordVersion}, uint32(n)) }
