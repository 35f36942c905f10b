package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mimid/mimid/node"
	"github.com/mimid/mimid/node/admin"
)

type accountCommand struct {
	Invite inviteCommand `cmd:"" help:"Make an invite, with which a user registers."`
	List   usersCommand  `cmd:"" help:"List users and their devices."`
}

type inviteCommand struct {
	Name string `arg:"" help:"The user's name, such as alice."`
	dataFlag
	Lifetime time.Duration `help:"How long the invite is good." default:"168h"`
	Replaces bool          `help:"Take over the account of a user who lost all devices."`
}

func (c *inviteCommand) Help() string { return "Example:\n  mimid account invite alice" }

func (c *inviteCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	inv, err := a.CreateInvite(s.ctx, admin.NewInvite{Name: c.Name, Lifetime: int64(c.Lifetime / time.Second), Replaces: c.Replaces})
	if err != nil {
		return err
	}
	st, err := a.Status(s.ctx)
	if err != nil {
		return err
	}
	return s.out.result(map[string]any{"user": inv.User, "code": inv.Code, "expires": inv.Expires, "provider": st.Clients}, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n", inv.Code)
		fmt.Fprintf(w, "\n%s registers with it until %s:\n  mimid client register --provider %s --invite %s\n", c.Name, when(inv.Expires), st.Clients, inv.Code)
	})
}

type usersCommand struct{ dataFlag }

func (c *usersCommand) Help() string { return "Example:\n  mimid account list" }

func (c *usersCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	var all []admin.User
	for after := ""; ; {
		page, err := a.Users(s.ctx, after, 0)
		if err != nil {
			return err
		}
		all = append(all, page.Users...)
		if after = page.Next; after == "" {
			break
		}
	}
	return s.out.result(map[string]any{"users": all}, func(w io.Writer) {
		table(w, "USER\tSINCE\tCAN BE ADDED\tDEVICES", func(w io.Writer) {
			for _, u := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t", u.Name, when(u.Created), canBeAdded(u.Stock))
				for i, d := range u.Devices {
					if i > 0 {
						fmt.Fprint(w, ", ")
					}
					fmt.Fprintf(w, "%s (%s)", d.Name, plural(d.KeyPackages, "KeyPackage"))
				}
				fmt.Fprintln(w)
			}
		})
	})
}

// canBeAdded says in words by what a user can be added to rooms.
func canBeAdded(stock string) string {
	switch stock {
	case "fresh":
		return "yes"
	case "reserve":
		return "yes, by a last resort"
	case "partly":
		return "without some device"
	case "none":
		return "NO"
	}
	return "not looked yet"
}

type roomCommand struct {
	List roomsCommand    `cmd:"" help:"List all rooms."`
	Show roomShowCommand `cmd:"" help:"Show a room and who takes part."`
	Log  roomLogCommand  `cmd:"" help:"Show a room's log, without its encrypted contents."`
	Move roomMoveCommand `cmd:"" help:"Hand a room that this provider orders over to another one."`

	Rejoin roomRejoinCommand `cmd:"" help:"Follow a room again that was moved away from before the end of what is here."`
}

type roomRejoinCommand struct {
	Room string `arg:"" help:"Id of the room, or the beginning of it, or its URI."`
	dataFlag
}

func (c *roomRejoinCommand) Help() string {
	return "An administrator has moved the room while this provider was cut off and went on without the others:\nthe room stands still here. This keeps what they have not as a lost branch, and follows the room as it\nwas moved. Users' devices stand still until each user wishes to come back, with\n`mimid client room rejoin`, which does the same as this command first.\n\nExample:\n  mimid room rejoin 3f9a"
}

func (c *roomRejoinCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.RejoinRoom(s.ctx, c.Room)
	if err != nil {
		return err
	}
	return s.out.result(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s is followed as it was moved, %d entries so far; %s orders it.\n", r.URI, r.Next, r.Hub)
		printBranches(w, r)
	})
}

// printBranches says what was lost by moves.
func printBranches(w io.Writer, r *admin.Room) {
	for _, b := range r.Branches {
		fmt.Fprintf(w, "  lost     entries %d to %d, which %s ordered, since the room was moved to %s from before them; kept: mimid room log %s --branch %d\n",
			b.From, b.End-1, b.Hub, b.To, short(r.ID), b.Number)
	}
}

type roomMoveCommand struct {
	Room   string `arg:"" help:"Id of the room, or the beginning of it, or its URI."`
	Target string `arg:"" help:"The provider that is to order it: one of its replicas, or, if this provider decides alone, of its participants."`
	dataFlag
}

func (c *roomMoveCommand) Help() string {
	return "Asks the target for a sign of life first, then releases the room, and waits until the target orders\nit. Nobody else can order the room until then.\n\nExample:\n  mimid room move 3f9a biloxi.example"
}

func (c *roomMoveCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.MoveRoom(s.ctx, c.Room, c.Target)
	if err != nil {
		return err
	}
	return s.out.result(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s is ordered by %s now, in term %s; nobody ordered it for %s\n", r.URI, r.Hub, r.Term, r.Pause.Round(time.Millisecond))
	})
}

type roomsCommand struct{ dataFlag }

func (c *roomsCommand) Help() string { return "Example:\n  mimid room list" }

func (c *roomsCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	var all []admin.Room
	for after := ""; ; {
		page, err := a.Rooms(s.ctx, after, 0)
		if err != nil {
			return err
		}
		all = append(all, page.Rooms...)
		if after = page.Next; after == "" {
			break
		}
	}
	return s.out.result(map[string]any{"rooms": all}, func(w io.Writer) {
		table(w, "ID\tHUB\tTERM\tENTRIES\tEPOCH\tURI\tTROUBLE", func(w io.Writer) {
			for _, r := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", short(r.ID), r.Hub, r.Term, r.Next, r.Epoch, r.URI, r.Trouble)
			}
		})
	})
}

type roomShowCommand struct {
	Room string `arg:"" help:"Id of the room, or the beginning of it, or its URI."`
	dataFlag
}

func (c *roomShowCommand) Help() string { return "Example:\n  mimid room show 3f9a" }

func (c *roomShowCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	r, err := a.Room(s.ctx, c.Room)
	if err != nil {
		return err
	}
	return s.out.result(r, func(w io.Writer) {
		fmt.Fprintf(w, "%s\n  id       %s\n  hub      %s, term %s\n  log      %d entries, head %s\n  epoch    %d\n  members  %d\n", r.URI, r.ID, r.Hub, r.Term, r.Next, r.Head, r.Epoch, r.Members)
		fmt.Fprintf(w, "  decided  by %s\n", strings.Join(r.Replicas, ", "))
		if len(r.NextReplicas) > 0 {
			fmt.Fprintf(w, "  soon     by %s\n", strings.Join(r.NextReplicas, ", "))
		}
		if len(r.Outside) > 0 {
			fmt.Fprintf(w, "  outside  %s, in which nobody takes part\n", strings.Join(r.Outside, ", "))
		}
		fmt.Fprintf(w, "  here     %s\n", roleText(r))
		if r.Seen != "" {
			fmt.Fprintf(w, "  term     %s is the highest one heard of or voted in\n", r.Seen)
		}
		if r.Claim != "" {
			fmt.Fprintf(w, "  claim    %s\n", printable(r.Claim, "  "))
		}
		if r.Unfinal > 0 {
			fmt.Fprintf(w, "  waiting  %d of the entries that follow, which no majority has yet\n", r.Unfinal)
		}
		if r.Trouble != "" {
			fmt.Fprintf(w, "  trouble  %s\n", printable(r.Trouble, "  "))
		}
		if r.Proof != "" && !strings.Contains(r.Trouble, r.Proof) {
			fmt.Fprintf(w, "  proof    %s\n", printable(r.Proof, "  "))
		}
		printBranches(w, r)
		for _, p := range r.Participants {
			fmt.Fprintf(w, "  %-9s%s\n", p.Role, p.User)
		}
	})
}

// roleText says in words what this provider is to a room.
func roleText(r *admin.Room) string {
	switch r.Role {
	case "hub":
		return "orders the room"
	case "replica":
		return "decides with the others"
	case "follower":
		return "keeps what is final"
	case "candidate":
		return "asks the others to be let order the room"
	case "releasing":
		return "has released the room to " + r.ReleasedTo + ", which has not begun to order it"
	case "waiting":
		return "was refused for a higher term, and asks the others again"
	case "restored":
		return "comes from a backup, and asks the others what they hold before it signs anything"
	}
	return r.Role
}

type roomLogCommand struct {
	Room string `arg:"" help:"Id of the room, or the beginning of it, or its URI."`
	dataFlag
	From   uint64 `help:"First sequence number."`
	Limit  int    `help:"How many entries." default:"100"`
	Branch uint32 `help:"Show a branch that was lost when the room was moved, by its number, as room show lists them."`
}

func (c *roomLogCommand) Help() string {
	return "Where several providers decide, it shows who has co-signed the log up to an entry, and by whose\nword another provider orders the room.\n\nExample:\n  mimid room log 3f9a --from 100 --limit 20"
}

func (c *roomLogCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	var l *admin.LogPage
	if c.Branch > 0 {
		l, err = a.Branch(s.ctx, c.Room, c.Branch, c.From, c.Limit)
	} else {
		l, err = a.Log(s.ctx, c.Room, c.From, c.Limit)
	}
	if err != nil {
		return err
	}
	return s.out.result(l, func(w io.Writer) {
		table(w, "SEQ\tTERM\tACCEPTED\tKIND\tBYTES\tHASH\t", func(w io.Writer) {
			for _, e := range l.Entries {
				what := e.What
				if len(e.Certified) > 0 {
					if what != "" {
						what += "; "
					}
					what += "final: " + strings.Join(e.Certified, ", ")
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%s\t%s\n", e.Seq, e.Term, when(e.Accepted), e.Kind, e.Size, short(e.Hash), what)
			}
		})
		if l.Next > 0 {
			fmt.Fprintf(w, "more: --from %d\n", l.Next)
		}
	})
}

type peersCommand struct {
	List   peersListCommand `cmd:"" default:"withargs" help:"List the providers that this one knows."`
	Pin    pinCommand       `cmd:"" help:"Decide for one key of a provider."`
	Forget forgetCommand    `cmd:"" help:"Forget what was trusted about a provider, and trust anew."`
}

type peersListCommand struct{ dataFlag }

func (c *peersListCommand) Help() string { return "Example:\n  mimid peers list" }

func (c *peersListCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	list, err := a.Peers(s.ctx)
	if err != nil {
		return err
	}
	return s.out.result(map[string]any{"peers": list}, func(w io.Writer) {
		table(w, "DOMAIN\tTRUST\tCONNECTED\tFINGERPRINT\tCONFLICTS", func(w io.Writer) {
			for _, p := range list {
				yes := "no"
				if p.Connected {
					yes = "yes"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t", p.Domain, p.Trust, yes, short(p.Fingerprint))
				for _, k := range p.Conflicts {
					fmt.Fprintf(w, "%s ", short(k))
				}
				fmt.Fprintln(w)
			}
		})
	})
}

type pinCommand struct {
	Domain      string `arg:"" help:"The provider."`
	Fingerprint string `arg:"" help:"Fingerprint of the key that speaks for it."`
	dataFlag
}

func (c *pinCommand) Help() string {
	return "From then on nobody with another key is believed to be that provider. Compare the fingerprint by\nanother way first, such as by telephone: `mimid status` shows it to its operator.\n\nExample:\n  mimid peers pin biloxi.example FINGERPRINT"
}

func (c *pinCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Pin(s.ctx, c.Domain, c.Fingerprint); err != nil {
		return err
	}
	return s.out.result(map[string]string{"domain": c.Domain, "fingerprint": c.Fingerprint}, func(w io.Writer) {
		fmt.Fprintf(w, "%s is %s from now on, whoever else claims it.\n", c.Domain, c.Fingerprint)
	})
}

type forgetCommand struct {
	Domain string `arg:"" help:"The provider."`
	dataFlag
}

func (c *forgetCommand) Help() string { return "Example:\n  mimid peers forget biloxi.example" }

func (c *forgetCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Forget(s.ctx, c.Domain); err != nil {
		return err
	}
	return s.out.result(map[string]string{"domain": c.Domain}, func(w io.Writer) { fmt.Fprintf(w, "Forgot %s.\n", c.Domain) })
}

type statusCommand struct{ dataFlag }

func (c *statusCommand) Help() string { return "Example:\n  mimid status" }

func (c *statusCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	st, err := a.Status(s.ctx)
	if err != nil {
		return err
	}
	return s.out.result(st, func(w io.Writer) {
		ready := st.Ready
		if ready == "" {
			ready = "ready"
		}
		fmt.Fprintf(w, "%s  %s, since %s, process %d, %s\n", st.Domain, ready, when(st.Started), st.PID, st.Version)
		fmt.Fprintf(w, "  key      %s\n  clients  %s\n", st.KeyFingerprint, st.Clients)
		for _, x := range st.Addresses {
			fmt.Fprintf(w, "  overlay  %s\n", x)
		}
		fmt.Fprintf(w, "  %s, %s, %s open, %s connected, %d deliveries waiting\n", plural(st.Users, "user"), plural(st.Rooms, "room"),
			plural(st.Streams, "stream"), plural(st.Peers, "provider"), st.Outbox)
		switch st.Outside {
		case "seen":
			fmt.Fprintf(w, "  from outside: strangers can claim KeyPackages, as another provider has tried\n")
		case "unseen":
			fmt.Fprintf(w, "  FROM OUTSIDE: STRANGERS CANNOT CLAIM KEYPACKAGES, nobody elsewhere can add users: %s\n", st.OutsideWhy)
		case "unknown":
			fmt.Fprintf(w, "  from outside: not known, no other provider has looked\n")
		}
		fmt.Fprintf(w, "  %d updates in %d commits\n", st.Updates, st.Commits)
	})
}

type keyCommand struct {
	Rotate rotateCommand `cmd:"" help:"Make a new provider key, for which the present one vouches."`
}

type rotateCommand struct{ dataFlag }

func (c *rotateCommand) Help() string {
	return "Works with a running node and with a stopped one.\n\nExample:\n  mimid key rotate"
}

func (c *rotateCommand) Run(s *session) error {
	var r *admin.Rotated
	a, err := admin.Dial(s.ctx, c.Dir)
	if err == nil {
		defer a.Close()
		r, err = a.RotateKey(s.ctx)
	} else {
		r, err = node.Rotate(c.Dir)
	}
	if err != nil {
		return err
	}
	return s.out.result(r, func(w io.Writer) {
		fmt.Fprintf(w, "old  %s\nnew  %s\n", r.Old, r.New)
		for _, t := range r.Todo {
			fmt.Fprintln(w, "-", t)
		}
	})
}

type doctorCommand struct{ dataFlag }

func (c *doctorCommand) Help() string {
	return "Looks at the key and its record, addresses, certificate, clock, disk, other providers, deliveries,\n" +
		"evaluators, KeyPackages (how many users have few, not who), quotas, and what it would cost to find\n" +
		"out all published phone numbers. Exit code 1 if something is bad.\n\nExample:\n  mimid doctor"
}

// errBad: the examination found something bad, and said so.
var errBad = errors.New("something is bad: see above")

func (c *doctorCommand) Run(s *session) error {
	a, err := c.dial(s)
	if err != nil {
		return err
	}
	defer a.Close()
	x, err := a.Doctor(s.ctx)
	if err != nil {
		return err
	}
	err = s.out.result(x, func(w io.Writer) {
		fmt.Fprintf(w, "%s, %s, %s\n", x.Domain, x.Version, when(x.At))
		for _, c := range x.Checks {
			fmt.Fprintf(w, "%-4s  %-13s %s\n", c.Outcome, c.Part, c.Found)
			if c.Do != "" {
				fmt.Fprintf(w, "%-4s  %-13s -> %s\n", "", "", c.Do)
			}
		}
	})
	if err == nil && x.Worst() == admin.Bad {
		return errBad
	}
	return err
}
