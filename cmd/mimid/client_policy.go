package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mimid/mimid/client"
)

// What a room says about itself, what its policy is, and how it ends.

type clientRoomPolicy struct {
	Room string `arg:"" help:"Name or URI of the room, or the beginning of its id."`

	MaxUsers     string `help:"How many may take part, or none for any number." placeholder:"N"`
	MaxDevices   string `help:"How many devices may be in the room, or none for any number." placeholder:"N"`
	MultiDevice  string `help:"Whether a user may have several devices in the room: yes or no." enum:",yes,no" default:"" placeholder:"yes|no"`
	Pseudonyms   string `help:"Whether people may call themselves otherwise here: yes or no. It is for people to read." enum:",yes,no" default:"" placeholder:"yes|no"`
	Persistent   string `help:"Whether the room stays when the last one leaves it; no: it ends then. yes or no." enum:",yes,no" default:"" placeholder:"yes|no"`
	Discoverable string `help:"Whether the room may be found by search: yes or no. It is for programs to read." enum:",yes,no" default:"" placeholder:"yes|no"`
	Delivery     string `help:"Whether devices tell that a message came: optional, required or forbidden." enum:",optional,required,forbidden" default:"" placeholder:"WHETHER"`
	Receipts     string `help:"Whether people tell that they read a message: optional, required or forbidden." enum:",optional,required,forbidden" default:"" placeholder:"WHETHER"`
	Expire       string `help:"Whether messages end by themselves: optional, required or forbidden." enum:",optional,required,forbidden" default:"" placeholder:"WHETHER"`

	ExpireAfter time.Duration `help:"For how long such messages are there at most." placeholder:"DURATION"`

	filePolicy `embed:""`
	device     `embed:""`
}

func (c *clientRoomPolicy) Help() string {
	return "Shows the policy of a room, or changes what is given.\n\nExample:\n  mimid client room policy clubhouse\n  mimid client room policy clubhouse --max-users 50 --multi-device yes\n  mimid client room policy clubhouse --receipts forbidden\n  mimid client room policy clubhouse --max-file 10MiB --forbid-files image/gif,video/mp4"
}

type policyView struct {
	Room         string `json:"room"`
	Fixed        bool   `json:"fixed_membership"`
	Parent       string `json:"parent_room,omitempty"`
	MaxUsers     *int64 `json:"max_users"`
	MaxDevices   *int64 `json:"max_clients"`
	MultiDevice  bool   `json:"multi_device"`
	Pseudonyms   bool   `json:"pseudonyms_allowed"`
	Persistent   bool   `json:"persistent_room"`
	Discoverable bool   `json:"discoverable"`
	Delivery     string `json:"delivery_notifications"`
	Receipts     string `json:"read_receipts"`
	Expire       string `json:"expiring_messages"`
	ExpireMin    uint32 `json:"min_expiration_seconds,omitempty"`
	ExpireMax    uint32 `json:"max_expiration_seconds,omitempty"`
	Uploads      string `json:"asset_upload,omitempty"`

	Files   *fileRules `json:"files,omitempty"` // absent: anything may be attached
	Preauth int        `json:"preauthorized"`
}

func (c *clientRoomPolicy) Run(s *session) error {
	maxUsers, err := parseBound("--max-users", c.MaxUsers)
	if err != nil {
		return err
	}
	maxDevices, err := parseBound("--max-devices", c.MaxDevices)
	if err != nil {
		return err
	}
	if c.ExpireAfter < 0 || c.ExpireAfter%time.Second != 0 || c.ExpireAfter > (1<<32-1)*time.Second {
		return usageError("--expire-after is whole seconds, at most 136 years, such as 24h")
	}
	if c.ExpireAfter > 0 && c.Expire == "" {
		return usageError("--expire-after needs --expire optional or --expire required")
	}
	if err := c.filePolicy.check(); err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		p, err := cl.Policies(ctx, r.URI)
		if err != nil {
			return err
		}
		if err := c.change(ctx, cl, r.URI, p, maxUsers, maxDevices); err != nil {
			return err
		}
		if err := c.filePolicy.set(ctx, cl, r.URI, p.Assets); err != nil {
			return err
		}
		if p, err = cl.Policies(ctx, r.URI); err != nil {
			return err
		}
		v := policyViewOf(r.URI.String(), p)
		return s.out.result(v, func(w io.Writer) { v.print(w) })
	})
}

// change sets what was given, each component as a whole.
func (c *clientRoomPolicy) change(ctx context.Context, cl *client.Client, room client.RoomURI, p *client.Policies, maxUsers, maxDevices *client.PolicyBound) error {
	base, changed := *p.Base, false
	for _, x := range []struct {
		to  *client.PolicyBound
		set *client.PolicyBound
	}{{&base.MaxUsers, maxUsers}, {&base.MaxClients, maxDevices}} {
		if x.set != nil {
			*x.to, changed = *x.set, true
		}
	}
	for _, x := range []struct {
		to *bool
		as string
	}{{&base.MultiDevice, c.MultiDevice}, {&base.Pseudonyms, c.Pseudonyms}, {&base.Persistent, c.Persistent}, {&base.Discoverable, c.Discoverable}} {
		if x.as != "" {
			*x.to, changed = x.as == "yes", true
		}
	}
	if changed {
		if err := cl.SetPolicy(ctx, room, &base); err != nil {
			return err
		}
	}
	if c.Delivery != "" || c.Receipts != "" {
		x := client.StatusPolicy{}
		if p.Status != nil {
			x = *p.Status
		}
		if err := setOptionality(&x.Delivery, c.Delivery); err != nil {
			return err
		}
		if err := setOptionality(&x.Read, c.Receipts); err != nil {
			return err
		}
		if err := cl.SetPolicy(ctx, room, &x); err != nil {
			return err
		}
	}
	if c.Expire == "" {
		return nil
	}
	x := client.ExpirationPolicy{Max: 1<<32 - 1}
	if err := setOptionality(&x.Expiring, c.Expire); err != nil {
		return err
	}
	if c.ExpireAfter > 0 {
		x.Max = uint32(c.ExpireAfter / time.Second)
	}
	if c.Expire == "forbidden" {
		x.Max = 0
	}
	return cl.SetPolicy(ctx, room, &x)
}

func setOptionality(to *client.Optionality, s string) (err error) {
	if s != "" {
		*to, err = client.ParseOptionality(s)
	}
	return err
}

// parseBound reads a number or "none"; nil: nothing was given.
func parseBound(flag, s string) (*client.PolicyBound, error) {
	switch s {
	case "":
		return nil, nil
	case "none":
		return new(client.PolicyBound), nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return nil, usageError(flag + " is a number from 1, or none")
	}
	return &client.PolicyBound{Set: true, N: uint32(n)}, nil
}

func policyViewOf(room string, p *client.Policies) policyView {
	bound := func(b client.PolicyBound) *int64 {
		if !b.Set {
			return nil
		}
		n := int64(b.N)
		return &n
	}
	v := policyView{Room: room, Fixed: p.Base.Fixed, Parent: p.Base.Parent, MaxUsers: bound(p.Base.MaxUsers), MaxDevices: bound(p.Base.MaxClients), MultiDevice: p.Base.MultiDevice,
		Pseudonyms: p.Base.Pseudonyms, Persistent: p.Base.Persistent, Discoverable: p.Base.Discoverable,
		Delivery: "optional", Receipts: "optional", Expire: "optional"}
	if p.Status != nil {
		v.Delivery, v.Receipts = p.Status.Delivery.String(), p.Status.Read.String()
	}
	if p.Expiration != nil {
		v.Expire, v.ExpireMin, v.ExpireMax = p.Expiration.Expiring.String(), p.Expiration.Min, p.Expiration.Max
	}
	if p.Assets != nil {
		v.Uploads, v.Files = p.Assets.Upload.String(), fileRulesOf(p.Assets)
	}
	if p.Preauth != nil {
		v.Preauth = len(p.Preauth.Entries)
	}
	return v
}

func (v *policyView) print(w io.Writer) {
	many := func(n *int64) string {
		if n == nil {
			return "any number"
		}
		return fmt.Sprintf("at most %d", *n)
	}
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	fmt.Fprintf(w, "participants          %s\ndevices               %s\nseveral per user      %s\nfixed membership      %s\npseudonyms            %s\nstays when empty      %s\ndiscoverable          %s\n",
		many(v.MaxUsers), many(v.MaxDevices), yes(v.MultiDevice), yes(v.Fixed), yes(v.Pseudonyms), yes(v.Persistent), yes(v.Discoverable))
	if v.Parent != "" {
		fmt.Fprintf(w, "only who is in        %s\n", v.Parent)
	}
	fmt.Fprintf(w, "delivery notices      %s\nread receipts         %s\nexpiring messages     %s", v.Delivery, v.Receipts, v.Expire)
	if v.ExpireMax > 0 {
		fmt.Fprintf(w, ", after %v to %v", time.Duration(v.ExpireMin)*time.Second, time.Duration(v.ExpireMax)*time.Second)
	}
	fmt.Fprintln(w)
	if v.Files != nil {
		v.Files.print(w, v.Uploads)
	}
	if v.Preauth > 0 {
		fmt.Fprintf(w, "preauthorized         %d rules\n", v.Preauth)
	}
}

// described is what the commands have that say something about a room.
type described struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Text   string `arg:"" help:"Text; \"\" takes away what is there."`
	device `embed:""`
}

func (d *described) run(s *session, field, done string, change func(text *string) client.Describing) error {
	return d.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, d.Room)
		if err != nil {
			return err
		}
		if err := cl.Describe(ctx, r.URI, change(&d.Text)); err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.URI.String(), field: d.Text}, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s: %s\n", viewOf(r).Name, done, strings.ReplaceAll(printable(d.Text, ""), "\n", " "))
		})
	})
}

type clientRoomName struct{ described }

func (c *clientRoomName) Help() string {
	return "Members see the new name, and so do the providers that keep the room.\n\nExample:\n  mimid client room name clubhouse 'The old clubhouse'"
}

func (c *clientRoomName) Run(s *session) error {
	if err := roomName(c.Text); err != nil {
		return err
	}
	return c.run(s, "name", "is now called", func(t *string) client.Describing { return client.Describing{Name: t} })
}

type clientRoomTopic struct{ described }

func (c *clientRoomTopic) Help() string {
	return "What the room is about at the moment.\n\nExample:\n  mimid client room topic clubhouse 'Dinner on Friday'"
}

func (c *clientRoomTopic) Run(s *session) error {
	return c.run(s, "topic", "is about", func(t *string) client.Describing { return client.Describing{Topic: t} })
}

type clientRoomDescribe struct{ described }

func (c *clientRoomDescribe) Help() string {
	return "What the room is for, in a few sentences.\n\nExample:\n  mimid client room describe clubhouse 'For everybody who rows with us.'"
}

func (c *clientRoomDescribe) Run(s *session) error {
	return c.run(s, "description", "is described as", func(t *string) client.Describing { return client.Describing{Description: t} })
}

type clientRoomDestroy struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Yes    bool   `help:"It is meant: this cannot be undone."`
	device `embed:""`
}

func (c *clientRoomDestroy) Help() string {
	return "Ends a room for everybody, for good. Nothing is sent in it any more; what was said stays on the devices that have it. To go without ending it, use client leave.\n\nExample:\n  mimid client room destroy clubhouse --yes"
}

func (c *clientRoomDestroy) Run(s *session) error {
	if !c.Yes {
		return usageError("this ends the room for everybody and cannot be undone; say --yes if it is meant")
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if err := cl.Destroy(ctx, r.URI); err != nil {
			return err
		}
		return s.out.result(map[string]string{"destroyed": r.URI.String()}, func(w io.Writer) { fmt.Fprintf(w, "%s has ended, for everybody.\n", viewOf(r).Name) })
	})
}
