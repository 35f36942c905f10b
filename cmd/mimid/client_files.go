package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/mimid/mimid/client"
)

// What a room's policy says of files.

// filePolicy is what the command that sets a room's policy has of it.
type filePolicy struct {
	MaxFile     string `help:"The largest file that may be attached, such as 500KiB or 10MiB, or none for any size." placeholder:"SIZE"`
	AllowFiles  string `help:"Which types of files may be attached, with commas between them, or all." placeholder:"TYPES"`
	ForbidFiles string `help:"Which types of files may not be attached, with commas between them, or none." placeholder:"TYPES"`
	Uploads     string `help:"Which provider keeps files: any, local for each sender's own, or hub." enum:",any,local,hub" default:"" placeholder:"any|local|hub"`
	Downloads   string `help:"How files are fetched: any, hub for through the hub, or oblivious so that a member's provider does not learn what, nor the hub who. From the hub's own users' provider it hides nothing." enum:",any,hub,oblivious" default:"" placeholder:"any|hub|oblivious"`
}

// uploadNames are what people call the values that MIMI has.
var uploadNames = map[string]string{"any": "unspecified", "local": "localProvider", "hub": "hub"}

// downloadNames are what people call the ways of downloading that MIMI has.
var downloadNames = map[client.Download]string{client.DownloadDirect: "direct", client.DownloadProxy: "hub", client.DownloadOHTTP: "oblivious"}

func (f *filePolicy) check() error { return f.apply(client.NewAssetPolicy()) }

// set changes what was given of the policy that is there, or of one that allows anything.
func (f *filePolicy) set(ctx context.Context, cl *client.Client, room client.RoomURI, was *client.AssetPolicy) error {
	if *f == (filePolicy{}) {
		return nil
	}
	p := client.NewAssetPolicy()
	if was != nil {
		c := *was
		p = &c
	}
	if err := f.apply(p); err != nil {
		return err
	}
	return cl.SetPolicy(ctx, room, p)
}

func (f *filePolicy) apply(p *client.AssetPolicy) error {
	if f.MaxFile != "" {
		n, err := parseSize(f.MaxFile)
		if err != nil {
			return err
		}
		p.MaxImage, p.MaxAudio, p.MaxVideo, p.MaxAttached = n, n, n, n
	}
	var err error
	switch f.AllowFiles {
	case "":
	case "all":
		p.Permitted, p.PermitSet = nil, false
	default:
		if p.Permitted, err = parseTypes("--allow-files", f.AllowFiles); err != nil {
			return err
		}
		p.PermitSet = true
	}
	switch f.ForbidFiles {
	case "":
	case "none":
		p.Forbidden = nil
	default:
		if p.Forbidden, err = parseTypes("--forbid-files", f.ForbidFiles); err != nil {
			return err
		}
	}
	switch f.Downloads {
	case "any":
		p.Default, p.Allowed, p.Refused = client.DownloadProxy, nil, nil
	case "hub":
		p.Default, p.Allowed, p.Refused = client.DownloadProxy, []client.Download{client.DownloadProxy}, nil
	case "oblivious":
		p.Default, p.Allowed, p.Refused = client.DownloadOHTTP, []client.Download{client.DownloadOHTTP}, nil
	}
	if f.Uploads != "" {
		p.Upload, err = client.ParseUploads(uploadNames[f.Uploads])
	}
	return err
}

func parseTypes(flag, s string) (out []client.MediaType, err error) {
	for t := range strings.SplitSeq(s, ",") {
		m, err := client.ParseMediaType(strings.TrimSpace(t))
		if err != nil {
			return nil, usageError(fmt.Sprintf("%s is media types such as image/png, with commas between them; %.40q is none", flag, t))
		}
		out = append(out, m)
	}
	return out, nil
}

// parseSize reads a size such as 10MiB, or none.
func parseSize(s string) (uint64, error) {
	if s == "none" {
		return math.MaxUint64, nil
	}
	number, unit := s, uint64(1)
	for suffix, n := range map[string]uint64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = rest, n
		}
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return 0, usageError("--max-file is a number of octets, or one with KiB, MiB or GiB behind it, or none")
	}
	return n * unit, nil
}

// fileRules are how the policy is shown. A size of 0 that is there lets nothing be attached.
type fileRules struct {
	Most      *int64   `json:"max_size"` // the largest of the limits; null: any size
	Allowed   []string `json:"allowed_types,omitempty"`
	Forbidden []string `json:"forbidden_types,omitempty"`
	Downloads []string `json:"downloads,omitempty"` // in which ways they are fetched, the usual one first; none: any
}

func fileRulesOf(p *client.AssetPolicy) *fileRules {
	r := new(fileRules)
	if n := p.Largest(); n <= math.MaxInt64 {
		most := int64(n)
		r.Most = &most
	}
	names := func(list []client.MediaType) (out []string) {
		for _, m := range list {
			s := m.Type
			for _, x := range m.Parameters {
				s += "; " + x.Name + "=" + x.Value
			}
			out = append(out, s)
		}
		return out
	}
	r.Allowed, r.Forbidden = names(p.Permitted), names(p.Forbidden)
	for _, d := range []client.Download{p.Default, client.DownloadDirect, client.DownloadProxy, client.DownloadOHTTP} {
		if name := downloadNames[d]; len(p.Allowed)+len(p.Refused) > 0 && p.Downloads(d) == nil && !slices.Contains(r.Downloads, name) {
			r.Downloads = append(r.Downloads, name)
		}
	}
	if p.PermitSet && r.Allowed == nil {
		r.Allowed = []string{"none"}
	}
	return r
}

func (r *fileRules) print(w io.Writer, uploads string) {
	most := "any size"
	if r.Most != nil {
		most = "at most " + size(*r.Most)
	}
	fmt.Fprintf(w, "files                 %s", most)
	if len(r.Allowed) > 0 {
		fmt.Fprintf(w, ", only %s", strings.Join(r.Allowed, ", "))
	}
	if len(r.Forbidden) > 0 {
		fmt.Fprintf(w, ", never %s", strings.Join(r.Forbidden, ", "))
	}
	fmt.Fprintf(w, "\nfiles are kept by     %s\n", map[string]string{"unspecified": "any provider", "localProvider": "each sender's provider", "hub": "the hub"}[uploads])
	if len(r.Downloads) > 0 {
		fmt.Fprintf(w, "files are fetched     %s\n", map[string]string{"direct": "directly", "hub": "through the hub", "oblivious": "obliviously: a member's provider does not learn what, nor the hub who"}[r.Downloads[0]])
	}
}
