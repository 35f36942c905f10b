package content

// What section 6.3 and the CDDL fix for everybody. A Depth above maxDepth could
// only let in what others must refuse.
const (
	maxDepth          = 4   // levels of parts, the body being the first
	maxExtensionDepth = 4   // levels of maps, arrays and tags, the extensions map being the first
	maxKeyText        = 255 // octets of a text key of an extension
	maxKeyInt         = 1<<53 - 1

	// Array elements and map pairs that the CBOR library is told to refuse, and
	// nesting of arrays, maps and tags. No Limits reach beyond these.
	maxElements = 1 << 16
	maxNesting  = 16
)

// Limits bounds what Decode and Encode accept; on decoding it is looked at
// before anything is allocated for what it bounds. A zero field means its
// default, so the zero Limits is the set of defaults. Negative values allow
// nothing.
//
// Both sides of a conversation must accept a message, and the sender cannot ask:
// limits above the defaults are for reading. Decoding takes memory in proportion
// to the size of the input: about three times as much, and some 200 bytes for
// each part and extension.
type Limits struct {
	// Size is the largest encoding of a message or a status report, in bytes.
	// Default 512 KiB, which leaves room in a log entry. Larger content goes
	// into an ExternalPart.
	Size int
	// Depth is how many levels of parts there may be; the body is the first.
	// Default and most 4 (section 6.3).
	Depth int
	// Parts is how many parts there may be at all levels together. Default 1,024
	// (section 9.1), most 65,536.
	Parts int
	// Extensions is how many extensions there may be, not counting the URIs of
	// sender and room. Default 64, most 65,536.
	Extensions int
	// ExtensionSize is the longest encoded value of an extension, in bytes.
	// Default 4,095 (section 4.3).
	ExtensionSize int
	// TopicID is the longest topic id, in bytes. Default 4,096 (section 9.1).
	TopicID int
	// URI is the longest URI of a sender or room, in bytes. Default 2,048, most
	// 65,535.
	URI int
	// Text is the longest of the other short fields, in bytes: language, media
	// type, URL, key, nonce, additional data, hash, description, file name.
	// Default 4,096.
	Text int
	// Statuses is how many messages a status report may speak of. Default 4,096,
	// most 65,536.
	Statuses int
}

func (l Limits) withDefaults() Limits {
	set := func(p *int, fallback, most int) {
		if *p == 0 {
			*p = fallback
		}
		*p = min(max(*p, 0), most)
	}
	const unbounded = 1 << 30
	set(&l.Size, 512<<10, unbounded)
	set(&l.Depth, maxDepth, maxDepth)
	set(&l.Parts, 1024, maxElements)
	set(&l.Extensions, 64, maxElements)
	set(&l.ExtensionSize, 4095, unbounded)
	set(&l.TopicID, 4096, unbounded)
	set(&l.URI, 2048, 1<<16-1)
	set(&l.Text, 4096, unbounded)
	set(&l.Statuses, 4096, maxElements)
	return l
}
