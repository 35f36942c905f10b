package clientapi

// FindMode is by what other providers' users may find a user with MIMI's identifierQuery
// (section 5.8).
type FindMode string

// Modes.
const (
	FindNone  FindMode = "none"  // by nothing
	FindExact FindMode = "exact" // by exact published handles: where nothing was chosen
	FindNames FindMode = "names" // also by parts of the given or family name, if the provider allows that
)

// Findable is by what the user may be found. Names are kept only to be found by.
type Findable struct {
	Mode   FindMode `json:"mode" enum:"none,exact,names" doc:"By what the user may be found"`
	Given  string   `json:"given,omitempty" maxLength:"128" doc:"Given name, of mode names"`
	Family string   `json:"family,omitempty" maxLength:"128" doc:"Family name, of mode names"`
}
