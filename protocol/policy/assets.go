package policy

import (
	"fmt"
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/mimid/mimid/protocol/presentation"
)

// UploadLocation says where clients put what they attach.
//
//	enum { unspecified(0), localProvider(1), hub(2), (255) } AssetUploadLocation;
type UploadLocation uint8

// The values of UploadLocation.
const (
	UploadAnywhere UploadLocation = 0
	UploadLocal    UploadLocation = 1 // each at its own provider
	UploadHub      UploadLocation = 2 // all at the hub
)

var uploadNames = []string{"unspecified", "localProvider", "hub"}

func (l UploadLocation) String() string { return named(l, uploadNames) }

// ParseUploadLocation is the inverse of String.
func ParseUploadLocation(s string) (UploadLocation, error) {
	return byName[UploadLocation](s, uploadNames)
}

// Download is a way to fetch what is attached.
//
//	enum { direct(0), hubProxy(1), ohttp(2), (255) } DownloadPrivacyType;
type Download uint8

// The values of Download.
const (
	DownloadDirect Download = 0
	DownloadProxy  Download = 1
	DownloadOHTTP  Download = 2
)

var downloadNames = []string{"direct", "hubProxy", "ohttp"}

func (d Download) String() string { return named(d, downloadNames) }

// ParseDownload is the inverse of String.
func ParseDownload(s string) (Download, error) { return byName[Download](s, downloadNames) }

// MediaType is a media type as MLS components have it (draft-ietf-mls-extensions section
// 6.2.2):
//
//	struct { opaque parameter_name<V>; opaque parameter_value<V>; } Parameter;
//	struct { opaque media_type<V>; Parameter parameters<V>; } MediaType;
type MediaType struct {
	Type       string // type/subtype
	Parameters []Parameter
}

// Parameter is one of a media type's.
type Parameter struct{ Name, Value string }

func (r reader) mediaType() MediaType {
	return MediaType{r.text(), readList(r, func() Parameter { return Parameter{r.text(), r.text()} })}
}

func appendMediaType(b []byte, m MediaType) []byte {
	return appendEach(appendText(b, m.Type), m.Parameters, func(b []byte, p Parameter) []byte {
		return appendText(appendText(b, p.Name), p.Value)
	})
}

func (m *MediaType) check() error {
	main, sub, ok := strings.Cut(m.Type, "/")
	token := func(s string) bool {
		return s != "" && len(s) <= 127 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?=`, c) })
	}
	if !ok || !token(main) || !token(sub) {
		return invalid("media type %.64q", m.Type)
	}
	for _, p := range m.Parameters {
		if !token(p.Name) || len(p.Value) > 255 {
			return invalid("parameter %.64q of media type %.64q", p.Name, m.Type)
		}
	}
	return nil
}

// covers says whether a list's entry is about a media type: without parameters it is about
// those with any, too.
func (m *MediaType) covers(t MediaType) bool {
	return strings.EqualFold(m.Type, t.Type) && (len(m.Parameters) == 0 || slices.Equal(m.Parameters, t.Parameters))
}

// UploadDomains are the hosts where the assets of one provider's users may be.
//
//	struct { opaque domain<V>; } DomainName;
//	struct { DomainName provider; DomainName asset_upload_destinations<V>; } ProviderAssetUploadDomains;
type UploadDomains struct {
	Provider string
	Hosts    []string
}

// Assets is the component asset_policy (draft-ietf-mimi-room-policy section 8.4):
//
//	struct {
//	    DownloadPrivacyType allowed_download_types<V>;
//	    DownloadPrivacyType forbidden_download_types<V>;
//	    DownloadPrivacyType default_download_type;
//	} DownloadPrivacy;
//
//	struct {
//	    AssetUploadLocation asset_upload_location;
//	    ProviderAssetUploadDomains upload_domains<V>;
//	    DownloadPrivacy download_privacy;
//	    uint64 max_image;
//	    uint64 max_audio;
//	    uint64 max_video;
//	    uint64 max_attachment;
//	    MediaType forbidden_media_types<V>;
//	    optional<MediaType> permitted_media_types<V>;
//	} AssetPolicy;
//
// The draft says of the last "if present", so it is read as optional<MediaType list<V>>:
// absent, all types that are not forbidden may be. Sizes are in bytes of the content.
type Assets struct {
	Upload                                    UploadLocation
	Domains                                   []UploadDomains
	Allowed, Refused                          []Download // allowed_download_types, forbidden_download_types
	Default                                   Download
	MaxImage, MaxAudio, MaxVideo, MaxAttached uint64
	Forbidden                                 []MediaType
	Permitted                                 []MediaType // with PermitSet
	PermitSet                                 bool
}

func (r reader) downloads() []Download {
	return readList(r, func() Download { return Download(r.enum("download type", len(downloadNames))) })
}

// ParseAssets reads asset_policy. Error: ErrComponent.
func ParseAssets(b []byte) (*Assets, error) {
	p := new(Assets)
	err := parse("asset policy", b, func(r reader) {
		p.Upload = UploadLocation(r.enum("asset_upload_location", len(uploadNames)))
		p.Domains = readList(r, func() UploadDomains { return UploadDomains{r.text(), readList(r, r.text)} })
		p.Allowed, p.Refused = r.downloads(), r.downloads()
		p.Default = Download(r.enum("default_download_type", len(downloadNames)))
		p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttached = r.U64(), r.U64(), r.U64(), r.U64()
		p.Forbidden = readList(r, r.mediaType)
		if p.PermitSet = r.Optional(); p.PermitSet {
			p.Permitted = readList(r, r.mediaType)
		}
	}, p.check)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Append appends the encoding.
func (p *Assets) Append(b []byte) []byte {
	downloads := func(b []byte, list []Download) []byte {
		return appendEach(b, list, func(b []byte, d Download) []byte { return append(b, byte(d)) })
	}
	b = appendEach(append(b, byte(p.Upload)), p.Domains, func(b []byte, d UploadDomains) []byte {
		return appendEach(appendText(b, d.Provider), d.Hosts, appendText)
	})
	b = append(downloads(downloads(b, p.Allowed), p.Refused), byte(p.Default))
	for _, n := range []uint64{p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttached} {
		b = presentation.AppendU64(b, n)
	}
	b = appendEach(b, p.Forbidden, appendMediaType)
	if b = presentation.AppendOptional(b, p.PermitSet); p.PermitSet {
		b = appendEach(b, p.Permitted, appendMediaType)
	}
	return b
}

// Check says whether a policy can be written. Error: ErrComponent.
func (p *Assets) Check() error {
	if err := p.check(); err != nil {
		return err
	}
	return within(p.Append(nil))
}

func (p *Assets) check() error {
	host := func(s string) bool {
		return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == ':' || c == '[' || c == ']')
		})
	}
	var providers []string
	for _, d := range p.Domains {
		providers = append(providers, d.Provider)
		for _, h := range append([]string{d.Provider}, d.Hosts...) {
			if !host(h) {
				return invalid("%.64q is no host in lower case", h)
			}
		}
		if len(d.Hosts) > maxList || repeated(d.Hosts) {
			return invalid("%d hosts of %s, at most %d, each once", len(d.Hosts), d.Provider, maxList)
		}
	}
	switch {
	case p.Upload > UploadHub || p.Default > DownloadOHTTP:
		return invalid("upload to %s, download %s", p.Upload, p.Default)
	case max(len(p.Domains), len(p.Allowed), len(p.Refused), len(p.Forbidden), len(p.Permitted)) > maxList:
		return invalid("a list of more than %d", maxList)
	case repeated(providers):
		return invalid("a provider has two lists of hosts")
	case p.Upload == UploadHub && len(p.Domains) > 1:
		return invalid("uploads are the hub's and %d providers have hosts", len(p.Domains))
	case repeated(p.Allowed) || repeated(p.Refused):
		return invalid("a way to download twice")
	case slices.ContainsFunc(p.Allowed, func(d Download) bool { return d > DownloadOHTTP || slices.Contains(p.Refused, d) }):
		return invalid("a way to download that is allowed and forbidden, or none")
	case slices.ContainsFunc(p.Refused, func(d Download) bool { return d > DownloadOHTTP }):
		return invalid("a way to download that is none")
	case p.Downloads(p.Default) != nil:
		return invalid("by default assets are downloaded by %s, which is not allowed", p.Default)
	case !p.PermitSet && len(p.Permitted) > 0:
		return invalid("media types are permitted in a list that is absent")
	}
	for _, m := range slices.Concat(p.Forbidden, p.Permitted) {
		if err := m.check(); err != nil {
			return err
		}
		if len(m.Parameters) > maxList {
			return invalid("%d parameters", len(m.Parameters))
		}
	}
	return nil
}

// Downloads says whether assets may be fetched in a way. Error: *Refusal.
func (p *Assets) Downloads(d Download) error {
	if slices.Contains(p.Refused, d) || len(p.Allowed) > 0 && !slices.Contains(p.Allowed, d) {
		return &Refusal{Why: fmt.Sprintf("assets of this room are not downloaded by %s", d)}
	}
	return nil
}

// Allows says whether an asset of a type and size may be attached; render: it is to be
// shown where it stands, which makes an image of an image. Error: *Refusal.
func (p *Assets) Allows(m MediaType, render bool, size uint64) error {
	covers := func(x MediaType) bool { return x.covers(m) }
	if slices.ContainsFunc(p.Forbidden, covers) || p.PermitSet && !slices.ContainsFunc(p.Permitted, covers) {
		return &Refusal{Why: fmt.Sprintf("files of type %.64q are not allowed in this room", m.Type)}
	}
	limit, what := p.MaxAttached, "an attachment"
	if main, _, _ := strings.Cut(strings.ToLower(m.Type), "/"); render {
		switch main {
		case "image":
			limit, what = p.MaxImage, "an image"
		case "audio":
			limit, what = p.MaxAudio, "audio"
		case "video":
			limit, what = p.MaxVideo, "a video"
		}
	}
	if size > limit {
		return &Refusal{Why: fmt.Sprintf("%s of %d bytes; in this room it has at most %d", what, size, limit)}
	}
	return nil
}

// From says whether an asset that a user of a provider has sent may be at a host; hub is
// the provider that orders the room. A provider that upload_domains does not name keeps
// assets at its own domain, and nowhere else: else everybody whose provider comes into the
// room later could attach nothing. Error: *Refusal.
func (p *Assets) From(sender, hub, host string) error {
	of := sender
	switch p.Upload {
	case UploadAnywhere:
		return nil
	case UploadHub:
		of = hub
	}
	hosts := []string{of}
	for _, d := range p.Domains {
		if d.Provider == of {
			hosts = d.Hosts
		}
	}
	if slices.Contains(hosts, strings.ToLower(host)) {
		return nil
	}
	return &Refusal{Why: fmt.Sprintf("%.255q is no host where assets of %s may be in this room", host, of)}
}

// Passes says what a provider can tell that passes an asset on, of which it sees neither
// sender nor type: that a user of one of the providers in the room may keep something at the
// host. Error: *Refusal.
func (p *Assets) Passes(providers []string, hub, host string) error {
	if slices.ContainsFunc(providers, func(sender string) bool { return p.From(sender, hub, host) == nil }) {
		return nil
	}
	return &Refusal{Why: fmt.Sprintf("%.255q is no host where assets of this room may be", host)}
}

// Largest is the largest size that any asset may have.
func (p *Assets) Largest() uint64 { return max(p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttached) }

// ParseMediaType reads a media type as people and MIME write it. Error: ErrComponent.
func ParseMediaType(s string) (MediaType, error) {
	main, params, err := mime.ParseMediaType(s)
	if err != nil {
		return MediaType{}, fmt.Errorf("media type %.64q: %w: %w", s, err, ErrComponent)
	}
	m := MediaType{Type: main}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		m.Parameters = append(m.Parameters, Parameter{name, params[name]})
	}
	return m, m.check()
}
