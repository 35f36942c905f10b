package uri

import (
	"fmt"
	"strings"
)

// Lengths in octets. Those of domains are DNS's (RFC 1035 section 2.3.4).
const (
	// MaxLength is longer than any URI that the grammar allows (which is 778).
	MaxLength = 1024
	// MaxSegment is the longest name of a user, room and so on, and the longest
	// segment of a client's.
	MaxSegment = 128

	maxDomain         = 253
	maxLabel          = 63
	maxClientSegments = 4
)

const (
	scheme   = "mimi://"
	selfName = "p2p.invalid"
)

// Kind says what a URI names.
type Kind uint8

// Kinds. The zero Kind is that of the zero URI and names nothing.
const (
	KindProvider Kind = 1 + iota
	KindUser
	KindPseudonym
	KindClient
	KindRoom
	KindGroup
	KindTeam
)

// kinds has the letter of each kind's path and its name for messages.
var kinds = [...]struct{ letter, name string }{
	0:             {"", "nothing"},
	KindProvider:  {"", "provider"},
	KindUser:      {"u", "user"},
	KindPseudonym: {"p", "pseudonym"},
	KindClient:    {"d", "client"},
	KindRoom:      {"r", "room"},
	KindGroup:     {"g", "group"},
	KindTeam:      {"t", "team"},
}

// String returns an English word, such as "user".
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k].name
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// kindOf returns the kind with the given letter, 0 if there is none.
func kindOf(letter string) Kind {
	for k, v := range kinds {
		if v.letter != "" && v.letter == letter {
			return Kind(k)
		}
	}
	return 0
}

// octets is a checked URI exactly as it was received, or empty. Whatever else
// is known about it is read from these octets, so that == on any type of this
// package compares octets and nothing else.
type octets struct{ s string }

// String returns the octets that were parsed. Zero values give "".
func (o octets) String() string { return o.s }

// IsZero says whether this is the zero value, which names nothing.
func (o octets) IsZero() bool { return o.s == "" }

// URI returns the same name as a value that does not say its kind in its type.
func (o octets) URI() URI { return URI{o} }

// Provider returns the provider that the name is one of.
func (o octets) Provider() Provider {
	if o.s == "" {
		return Provider{}
	}
	return Provider{octets{scheme + o.domain()}}
}

// MarshalText returns the octets, for encoding/json and the like.
func (o octets) MarshalText() ([]byte, error) { return []byte(o.s), nil }

func (o octets) domain() string {
	domain, _, _ := strings.Cut(strings.TrimPrefix(o.s, scheme), "/")
	return domain
}

// path returns the letter of the kind and what follows it.
func (o octets) path() (letter, name string) {
	_, path, _ := strings.Cut(strings.TrimPrefix(o.s, scheme), "/")
	letter, name, _ = strings.Cut(path, "/")
	return letter, name
}

// A named is octets with a path.
type named struct{ octets }

// Name returns what the provider calls it: "alice" of
// mimi://atlanta.example/u/alice, "alice/phone" of a client.
func (n named) Name() string {
	_, name := n.path()
	return name
}

// URI is a well-formed MIMI URI of any kind. The zero URI names nothing.
type URI struct{ octets }

// Kind returns what the URI names.
func (u URI) Kind() Kind {
	if u.s == "" {
		return 0
	}
	if letter, _ := u.path(); letter != "" {
		return kindOf(letter)
	}
	return KindProvider
}

// Provider is the URI of a messaging provider.
type Provider struct{ octets }

// Domain returns the domain alone, as requests and DNS use it.
func (p Provider) Domain() string { return p.domain() }

// SelfNamed returns the base36 label of a provider that is named by its key,
// and false for one that is named by DNS.
func (p Provider) SelfNamed() (label string, ok bool) {
	label, ok = strings.CutSuffix(p.domain(), "."+selfName)
	if !ok {
		return "", false
	}
	return label, true
}

// User returns the URI of one of the provider's users. Like the methods for
// other kinds, it refuses what Parse would refuse, and the zero Provider.
func (p Provider) User(name string) (User, error) { return ParseUser(p.join(KindUser, name)) }

// Pseudonym returns the URI of a pseudonym given by the provider.
func (p Provider) Pseudonym(name string) (Pseudonym, error) {
	return ParsePseudonym(p.join(KindPseudonym, name))
}

// Client returns the URI of a client. Of this project's own providers it has
// two segments, the user's name and the client's. A segment with a slash in it
// is refused, not split.
func (p Provider) Client(segments ...string) (Client, error) {
	for _, s := range segments {
		if err := checkSegment(s); err != nil {
			return Client{}, fmt.Errorf("naming a client: %w", err)
		}
	}
	return ParseClient(p.join(KindClient, strings.Join(segments, "/")))
}

// Room returns the URI of a room created at the provider.
func (p Provider) Room(name string) (Room, error) { return ParseRoom(p.join(KindRoom, name)) }

// Group returns the URI of an MLS group.
func (p Provider) Group(name string) (Group, error) { return ParseGroup(p.join(KindGroup, name)) }

// Team returns the URI of a team.
func (p Provider) Team(name string) (Team, error) { return ParseTeam(p.join(KindTeam, name)) }

func (p Provider) join(k Kind, name string) string {
	return p.s + "/" + kinds[k].letter + "/" + name
}

// User is the URI of a user; or, where rooms speak of who takes part, of a pseudonym in
// place of one (Pseudonym.Participant, ParseParticipant).
type User struct{ named }

// Short returns the form for people, alice@atlanta.example. It is for display
// and for ParseShort, never for the wire. The zero User gives "".
func (u User) Short() string {
	if u.s == "" {
		return ""
	}
	return u.Name() + "@" + u.domain()
}

// Pseudonym is the URI of a name that hides a user's. A provider may as well
// give out pseudonyms that look like users, so that nobody recognises them.
type Pseudonym struct{ named }

// Participant is the pseudonym in place of a user, where it takes part in a room. Such a
// User keeps its own spelling, so it is equal to no other, and ParseUser does not read it.
func (p Pseudonym) Participant() User { return User(p) }

// Pseudonym returns the pseudonym that stands in place of a user, false for a user.
func (u User) Pseudonym() (Pseudonym, bool) {
	if letter, _ := u.path(); letter != kinds[KindPseudonym].letter {
		return Pseudonym{}, false
	}
	return Pseudonym(u), true
}

// Client is the URI of a user's client (device). Which user it belongs to is
// said by its credential, not by its URI.
type Client struct{ named }

// Room is the URI of a room. Its provider is the one that created the room, and
// need not be its hub any more.
type Room struct{ named }

// Group is the URI of an MLS group.
type Group struct{ named }

// Team is the URI of a team.
type Team struct{ named }

// UnmarshalText is Parse; the empty text gives the zero URI.
func (u *URI) UnmarshalText(b []byte) error { return unmarshal(u, b, Parse) }

// UnmarshalText is ParseProvider; the empty text gives the zero Provider.
func (p *Provider) UnmarshalText(b []byte) error { return unmarshal(p, b, ParseProvider) }

// UnmarshalText is ParseUser; the empty text gives the zero User.
func (u *User) UnmarshalText(b []byte) error { return unmarshal(u, b, ParseUser) }

// UnmarshalText is ParsePseudonym; the empty text gives the zero Pseudonym.
func (p *Pseudonym) UnmarshalText(b []byte) error { return unmarshal(p, b, ParsePseudonym) }

// UnmarshalText is ParseClient; the empty text gives the zero Client.
func (c *Client) UnmarshalText(b []byte) error { return unmarshal(c, b, ParseClient) }

// UnmarshalText is ParseRoom; the empty text gives the zero Room.
func (r *Room) UnmarshalText(b []byte) error { return unmarshal(r, b, ParseRoom) }

// UnmarshalText is ParseGroup; the empty text gives the zero Group.
func (g *Group) UnmarshalText(b []byte) error { return unmarshal(g, b, ParseGroup) }

// UnmarshalText is ParseTeam; the empty text gives the zero Team.
func (t *Team) UnmarshalText(b []byte) error { return unmarshal(t, b, ParseTeam) }

// unmarshal reverses MarshalText, of zero values too. It changes *p only if it
// succeeds.
func unmarshal[T any](p *T, b []byte, parse func(string) (T, error)) error {
	var v T
	if len(b) > 0 {
		var err error
		if v, err = parse(string(b[:min(len(b), MaxLength+1)])); err != nil {
			return err
		}
	}
	*p = v
	return nil
}
