package verification

import (
	"slices"
	"time"

	"github.com/mimid/mimid/protocol/discovery"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/uri"
)

// Standing is who stands for it that a user holds an identifier.
type Standing string

// Standings, the strongest first.
const (
	ByAuthority Standing = "authority" // one whom the searcher believes
	ByProvider  Standing = "provider"  // the user's own alone
	ByNobody    Standing = "nobody"    // the user says so, and the provider says that
)

// Judge says who stands for a claim: an authority among those believed whose statement holds,
// which is returned then; or the user's provider, whatever an authority that is not believed
// may say; or nobody.
func Judge(v *discovery.VerifiedClaim, believed []string, anchors x509auth.Anchors, now time.Time) (Standing, *Verified) {
	if len(v.Statement()) > 0 {
		if st, err := Parse(v.Statement()); err == nil && slices.Contains(believed, st.Authority().Domain()) {
			if good, err := st.Verify(v, anchors, now); err == nil {
				return ByAuthority, good
			}
		}
	}
	if v.Method() == discovery.MethodUnverified {
		return ByNobody, nil
	}
	return ByProvider, nil
}

// Authority is who has made it, as domain; "" of nil.
func (v *Verified) Authority() string {
	if v == nil {
		return ""
	}
	return v.facts.Authority.Domain()
}

// At is when it was found out, Unix milliseconds; 0 of nil.
func (v *Verified) At() int64 {
	if v == nil {
		return 0
	}
	return v.facts.Issued.UnixMilli()
}

// AuthorityOf says which authority a claim's statement names, so that its keys can be looked
// up; false if there is none that can be read.
func AuthorityOf(v *discovery.VerifiedClaim) (uri.Provider, bool) {
	if len(v.Statement()) == 0 {
		return uri.Provider{}, false
	}
	st, err := Parse(v.Statement())
	if err != nil {
		return uri.Provider{}, false
	}
	return st.Authority(), true
}
