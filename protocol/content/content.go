package content

// MediaType is the media type of an encoded Message.
const MediaType = "application/mimi-content"

// Message is one message of a room (section 4.1), in clear. Everything that a
// user does is one: saying, replying, reacting, editing, deleting.
//
// The layout, a CBOR array, is in codec.go. Use a constructor such as New, or
// fill in all fields: Encode refuses what cannot be written. The slices belong
// to the Message.
type Message struct {
	// Salt makes the message's id unpredictable, and is the key of its franking
	// tag. It is drawn anew for each message, and kept when the same message is
	// encrypted again.
	Salt Salt
	// Replaces is the id of the message that this one edits or deletes, nil for
	// none. Of a message edited several times it is the first id (section 5.5).
	Replaces *MessageID
	// TopicID groups messages; empty for none. Any octets.
	TopicID []byte
	// Expires says when to delete the message, nil for never.
	Expires *Expiration
	// InReplyTo is the id of the message that this one answers or reacts to, nil
	// for none. It names one version of that message.
	InReplyTo *MessageID
	// Sender and Room are the URIs in extensions 1 and 2, as octets; empty for
	// none. Franking needs both. They are claims: see CheckOrigin.
	Sender, Room string
	// Extensions are all others. Decode returns them in the order of the
	// encoding, Encode sorts them.
	Extensions []Extension
	// Body is the content.
	Body Part
}

// Extension is a field that this package does not know (section 4.3). Unknown
// ones are carried as they are.
type Extension struct {
	Key Key
	// Value is one CBOR data item in deterministic encoding.
	Value []byte
}

// Key names an extension: by Text if that is not empty, which is for private
// use and has at most 255 octets of UTF-8; otherwise by Int, within
// ±(2^53-1). Positive integers are registered, negative ones for private use.
// Keys compare with ==; a Key with both set is refused.
type Key struct {
	Int  int64
	Text string
}

// Expiration says when a message is to be deleted: Seconds after the recipient
// read it if Relative, otherwise that many seconds after the Unix epoch.
type Expiration struct {
	Relative bool
	Seconds  uint32
}

// Part is a body or one of several parts of one (section 4.4).
type Part struct {
	// Disposition is what the content is for.
	Disposition Disposition
	// Language is empty or a comma-separated list of language tags (RFC 5646).
	// It is not judged here.
	Language string
	// Content is a NullPart, SinglePart, ExternalPart or MultiPart.
	Content Content
}

// Content is what a Part holds: a NullPart, SinglePart, ExternalPart or
// MultiPart, by value.
type Content interface {
	// cardinality is the number that tells the four apart on the wire.
	cardinality() uint64
}

// NullPart is no content, as in a message that deletes another.
type NullPart struct{}

// SinglePart is content inside the message.
type SinglePart struct {
	// MediaType with parameters, such as "text/plain;charset=utf-8". It is not
	// judged here; an unknown one is no reason to discard the message.
	MediaType string
	Content   []byte
}

// ExternalPart is content to be fetched from elsewhere, mostly encrypted
// (section 4.5).
type ExternalPart struct {
	// MediaType of the content, may be empty.
	MediaType string
	// URL to fetch it from. It is the sender's choice: fetching it tells the
	// server there who reads.
	URL string
	// Expires is when the URL stops to work, in seconds since the Unix epoch; 0
	// for never.
	Expires uint32
	// Size of the content in bytes, 0 for unknown. A claim.
	Size uint64
	// EncAlg is the AEAD (IANA number), AES128GCM or 0 for none; Key, Nonce and
	// AAD are its inputs.
	EncAlg          uint16
	Key, Nonce, AAD []byte
	// HashAlg is the hash function (IANA named information number), SHA256 or 0
	// for none; ContentHash is the hash of what is at the URL.
	HashAlg     uint8
	ContentHash []byte
	// Description is for people, may be empty.
	Description string
	// Filename is a suggestion, may be empty. Never use it as a path: see
	// SafeFilename.
	Filename string
}

// Algorithms of an ExternalPart.
const (
	AES128GCM uint16 = 1 // IANA AEAD algorithms; the one that everybody implements
	SHA256    uint8  = 1 // IANA named information hash algorithms; also the first octet of a MessageID
)

// MultiPart is two or more parts, and how they belong together.
type MultiPart struct {
	Semantics Semantics
	Parts     []Part
}

func (NullPart) cardinality() uint64     { return 0 }
func (SinglePart) cardinality() uint64   { return 1 }
func (ExternalPart) cardinality() uint64 { return 2 }
func (MultiPart) cardinality() uint64    { return 3 }

// Semantics says what to do with the parts of a MultiPart. Other values than
// these are refused (section 9.1).
type Semantics uint8

// Semantics of parts.
const (
	ChooseOne  Semantics = 0 // exactly one, of the receiver's choice; they say the same
	SingleUnit Semantics = 1 // all of them, or none if one is not understood
	ProcessAll Semantics = 2 // as many as possible
)

// Disposition is the purpose of a Part (section 8.2.2). Values without a name
// here are carried, and are to be treated like Render.
type Disposition uint8

// Dispositions.
const (
	Unspecified Disposition = 0
	Render      Disposition = 1
	Reaction    Disposition = 2
	Profile     Disposition = 3
	Inline      Disposition = 4
	Icon        Disposition = 5
	Attachment  Disposition = 6
	Session     Disposition = 7
	Preview     Disposition = 8
)
