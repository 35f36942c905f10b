package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of texts in room_metadata, in bytes.
const (
	MaxRoomName    = 255
	maxSubject     = 1024
	maxDescribed   = 4096
	maxMediaType   = 255
	maxLanguageTag = 64
)

// Description is one text about a room.
//
//	struct { opaque media_type<V>; opaque language_tag<V>; opaque description_content<V>; } RichDescription;
//
// No media type is text/plain;charset=utf-8.
type Description struct{ MediaType, Language, Content string }

// Metadata is the component room_metadata (draft-ietf-mimi-protocol section 7.6):
//
//	struct { opaque uri<V>; } Uri;
//	struct { opaque string<V>; } UTF8String;    /* without nulls */
//
//	struct {
//	    Uri room_uri;
//	    UTF8String room_name;
//	    RichDescription room_descriptions<V>;
//	    Uri room_avatar;                         /* https, or empty */
//	    UTF8String room_subject;
//	    UTF8String room_mood;
//	} RoomMetaData;
type Metadata struct {
	URI           string
	Name          string
	Descriptions  []Description
	Avatar        string
	Subject, Mood string
}

// ParseMetadata reads room_metadata. Error: ErrComponent.
func ParseMetadata(b []byte) (*Metadata, error) {
	m := new(Metadata)
	err := parse("room metadata", b, func(r reader) {
		m.URI, m.Name = r.text(), r.text()
		m.Descriptions = readList(r, func() Description { return Description{r.text(), r.text(), r.text()} })
		m.Avatar, m.Subject, m.Mood = r.text(), r.text(), r.text()
	}, m.check)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Append appends the encoding.
func (m *Metadata) Append(b []byte) []byte {
	b = appendEach(appendText(appendText(b, m.URI), m.Name), m.Descriptions, func(b []byte, d Description) []byte {
		return appendText(appendText(appendText(b, d.MediaType), d.Language), d.Content)
	})
	return appendText(appendText(appendText(b, m.Avatar), m.Subject), m.Mood)
}

// Check says whether metadata can be written. Error: ErrComponent.
func (m *Metadata) Check() error {
	if err := m.check(); err != nil {
		return err
	}
	return within(m.Append(nil))
}

func (m *Metadata) check() error {
	if len(m.Descriptions) > maxList {
		return invalid("%d descriptions, at most %d", len(m.Descriptions), maxList)
	}
	type text struct {
		what, s string
		max     int
	}
	texts := []text{{"name", m.Name, MaxRoomName}, {"subject", m.Subject, maxSubject}, {"mood", m.Mood, maxSubject}}
	for _, d := range m.Descriptions {
		texts = append(texts, text{"description's media type", d.MediaType, maxMediaType}, text{"description's language", d.Language, maxLanguageTag})
		if d.MediaType == "" {
			texts = append(texts, text{"description", d.Content, maxDescribed})
		} else if len(d.Content) > maxDescribed {
			return invalid("a description of %d bytes, at most %d", len(d.Content), maxDescribed)
		}
	}
	for _, x := range texts {
		if len(x.s) > x.max || !utf8.ValidString(x.s) || strings.ContainsRune(x.s, 0) {
			return invalid("a room's %s is text of at most %d bytes", x.what, x.max)
		}
	}
	if !asciiURI(m.URI) || m.URI == "" {
		return invalid("metadata of room %.64q", m.URI)
	}
	if m.Avatar != "" && (!strings.HasPrefix(m.Avatar, "https://") || !asciiURI(m.Avatar)) {
		return invalid("a room's picture is at an address that begins with https://, not %.64q", m.Avatar)
	}
	return nil
}

// ChangeMetadata says whether a role may put metadata in the place of other (nil: there is
// none): each field has its capability. Error: *Refusal.
func (r *Roles) ChangeMetadata(actor Role, before, after *Metadata) error {
	if before == nil {
		before = &Metadata{URI: after.URI}
	}
	if before.URI != after.URI {
		return &Refusal{Why: fmt.Sprintf("the room is %.255s and does not become %.255s", before.URI, after.URI)}
	}
	for _, x := range []struct {
		differs bool
		c       Capability
	}{
		{before.Name != after.Name, ChangeRoomName},
		{!slices.Equal(before.Descriptions, after.Descriptions), ChangeRoomDescription},
		{before.Avatar != after.Avatar, ChangeRoomAvatar},
		{before.Subject != after.Subject, ChangeRoomSubject},
		{before.Mood != after.Mood, ChangeRoomMood},
	} {
		if x.differs {
			if err := r.Need(actor, x.c); err != nil {
				return err
			}
		}
	}
	return nil
}
