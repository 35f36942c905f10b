package contact

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/node/account"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/uri"
	"github.com/mimid/mimid/protocol/wire"
	"github.com/mimid/mimid/store"
)

// By what identifierQuery of other providers finds a user is the user's choice (MIMI section
// 5.8): by parts of the name that it gives for this, by its exact published handles, which is
// what holds for who has chosen nothing, or by nothing. The search in the overlay is apart
// from this: it needs the exact identifier, and shows what was published.

const (
	// maxPersonName is the longest given or family name, in bytes.
	maxPersonName = 128
	// minPart is the shortest part of a name that is searched for, in characters.
	minPart = 3
	// maxMatches is how many users one query finds; where there are more, something has to
	// match exactly.
	maxMatches = 16
	// nameCost is what a query by names counts, in lookups: it looks at all who may be found so.
	nameCost = 10
)

// findable is by what a user may be found.
type findable struct {
	mode          clientapi.FindMode
	given, family string
}

var findModes = []clientapi.FindMode{clientapi.FindNone, clientapi.FindExact, clientapi.FindNames} // by their numbers in records

func (f *findable) bytes() []byte {
	b := []byte{version, byte(slices.Index(findModes, f.mode))}
	return presentation.AppendOpaque(presentation.AppendOpaque(b, []byte(f.given)), []byte(f.family))
}

func parseFindable(b []byte) (f findable, err error) {
	r := presentation.NewReader(b)
	if v := r.U8(); v != version && r.Err() == nil {
		return f, fmt.Errorf("%w: search policy of version %d", ErrDamaged, v)
	}
	if n := int(r.U8()); n < len(findModes) {
		f.mode = findModes[n]
	} else {
		r.Fail(presentation.ErrMalformed, "mode %d", n)
	}
	f.given, f.family = string(r.Opaque()), string(r.Opaque())
	if err := r.Done(); err != nil {
		return f, fmt.Errorf("%w: search policy: %w", ErrDamaged, err)
	}
	return f, nil
}

func findableKey(u uri.User) store.Key {
	return store.SpaceClaims.Key(append([]byte{searchPolicy}, u.String()...))
}

// SetFindable says by what an own user may be found.
func (s *Service) SetFindable(ctx context.Context, who account.Identity, q *clientapi.Findable) (*clientapi.Findable, error) {
	f := findable{mode: q.Mode}
	switch {
	case !slices.Contains(findModes, q.Mode):
		return nil, invalid("mode %.40q is none of %q", q.Mode, findModes)
	case q.Mode != clientapi.FindNames && (q.Given != "" || q.Family != ""):
		return nil, invalid("a name is given, and the mode is %q: names are kept only to be found by", q.Mode)
	case q.Mode == clientapi.FindNames && q.Given == "" && q.Family == "":
		return nil, invalid("to be found by a name takes a given or a family name")
	case !personName(q.Given) || !personName(q.Family):
		return nil, invalid("a name has at most %d octets of text, and no control characters", maxPersonName)
	}
	f.given, f.family = q.Given, q.Family
	s.findMu.Lock()
	defer s.findMu.Unlock()
	if err := s.loadFindable(); err != nil {
		return nil, err
	}
	if err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error { return tx.Set(findableKey(who.User), f.bytes()) }); err != nil {
		s.found = nil // nobody knows whether it was written
		return nil, fmt.Errorf("storing search policy: %w", err)
	}
	s.found[who.User] = f
	return &clientapi.Findable{Mode: f.mode, Given: f.given, Family: f.family}, nil
}

// Findable says by what the user may be found.
func (s *Service) Findable(_ context.Context, who account.Identity) (*clientapi.Findable, error) {
	s.findMu.Lock()
	defer s.findMu.Unlock()
	if err := s.loadFindable(); err != nil {
		return nil, err
	}
	f := s.policyOf(who.User)
	return &clientapi.Findable{Mode: f.mode, Given: f.given, Family: f.family}, nil
}

func personName(s string) bool {
	return len(s) <= maxPersonName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// loadFindable reads all policies, once. Called with findMu held.
func (s *Service) loadFindable() error {
	if s.found != nil {
		return nil
	}
	all := map[uri.User]findable{}
	err := s.cfg.Store.View(func(tx *store.Tx) error {
		for it, err := range tx.Scan(store.Scan{Prefix: store.SpaceClaims.Prefix([]byte{searchPolicy})}) {
			if err != nil {
				return err
			}
			name, err := store.SpaceClaims.Parse(it.Key)
			if err != nil {
				return err
			}
			u, err := uri.ParseUser(string(name[1:]))
			if err != nil {
				return fmt.Errorf("%w: search policy of %d octets' name", ErrDamaged, len(name))
			}
			if all[u], err = parseFindable(it.Value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading search policies: %w", err)
	}
	s.found = all
	return nil
}

// policyOf is called with findMu held.
func (s *Service) policyOf(u uri.User) findable {
	if f, ok := s.found[u]; ok {
		return f
	}
	return findable{mode: clientapi.FindExact}
}

// answerQuery finds whom all elements match, and who lets itself be found by them.
func (s *Service) answerQuery(q []wire.QueryElement) (wire.IdentifierResponse, error) {
	none := wire.IdentifierResponse{Code: wire.QueryNotFound}
	var handles, names []wire.QueryElement
	for _, e := range q {
		if e.Type == wire.SearchHandle {
			handles = append(handles, e)
		} else {
			names = append(names, e)
		}
	}
	var candidates []uri.User
	if len(handles) > 0 {
		u, found, err := s.userOfAll(handles)
		if err != nil || !found {
			return none, err
		}
		candidates = []uri.User{u}
	}
	s.findMu.Lock()
	defer s.findMu.Unlock()
	if err := s.loadFindable(); err != nil {
		return none, err
	}
	if len(handles) == 0 {
		for u := range s.found {
			candidates = append(candidates, u)
		}
		slices.SortFunc(candidates, func(a, b uri.User) int { return cmp.Compare(a.String(), b.String()) })
	}
	out := wire.IdentifierResponse{Code: wire.QuerySuccess}
	for _, u := range candidates {
		if f := s.policyOf(u); f.mode == clientapi.FindNone || len(names) > 0 && (f.mode != clientapi.FindNames || !f.matches(names)) {
			continue
		}
		if len(out.URIs) == maxMatches {
			return wire.IdentifierResponse{Code: wire.QueryAmbiguous}, nil
		}
		out.URIs = append(out.URIs, wire.IdentifierURI(u.String()))
	}
	if len(out.URIs) == 0 {
		return none, nil
	}
	return out, nil
}

func (f *findable) matches(q []wire.QueryElement) bool {
	for _, e := range q {
		ok := false
		switch {
		case e.Type == wire.SearchPartialName:
			part := strings.ToLower(e.Value)
			ok = strings.Contains(strings.ToLower(f.given), part) || strings.Contains(strings.ToLower(f.family), part)
		case e.Field == claimGiven:
			ok = e.Value != "" && e.Value == f.given
		case e.Field == claimFamily:
			ok = e.Value != "" && e.Value == f.family
		}
		if !ok {
			return false
		}
	}
	return true
}

// Claims of OpenID Connect that users can be found by.
const (
	claimGiven  = "given_name"
	claimFamily = "family_name"
)

// codeOfNames is codeOf where users may be found by their names: what can be said of a query
// without looking anybody up.
func codeOfNames(q []wire.QueryElement) wire.IdentifierQueryCode {
	out := wire.QuerySuccess
	for i := range q {
		switch e := &q[i]; {
		case e.Type == wire.SearchHandle:
		case e.Type == wire.SearchPartialName && utf8.RuneCountInString(e.Value) >= minPart:
		case e.Type == wire.SearchPartialName, e.Type == wire.SearchWholeProfile:
			out = wire.QueryAmbiguous
		case e.Type == wire.SearchOIDCStdClaim && (e.Field == claimGiven || e.Field == claimFamily):
		default:
			return wire.QueryUnsupportedField
		}
	}
	return out
}
