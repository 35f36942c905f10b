package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/client/disk"
)

// defaultClientData is where a user's data is unless --dir says otherwise.
func defaultClientData() string {
	if d := os.Getenv("MIMID_CLIENT_DIR"); d != "" {
		return d
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "mimid-client"
	}
	return filepath.Join(home, ".mimid", "client")
}

type clientCommand struct {
	Register      clientRegister      `cmd:"" help:"Register this device, with an invite."`
	Device        clientDevices       `cmd:"" help:"Add a device on another machine, list yours, or remove one."`
	Whoami        clientWhoami        `cmd:"" help:"Say who this device is."`
	Status        clientStatus        `cmd:"" help:"Say whether others can add you to rooms."`
	Publish       clientPublish       `cmd:"" help:"Let others find you by a handle or number."`
	Find          clientFind          `cmd:"" help:"Find people by a handle or number."`
	Findable      clientFindable      `cmd:"" help:"Say by what other providers may find you."`
	Privacy       clientPrivacy       `cmd:"" help:"Say whether other providers may see which provider asks, when you look for people."`
	Contact       clientContact       `cmd:"" help:"Ask somebody for consent to be added to rooms."`
	Introductions clientIntroductions `cmd:"" help:"See and answer requests of people who have not said who they are."`
	Requests      clientRequests      `cmd:"" help:"List who asks for your consent."`
	Accept        clientAccept        `cmd:"" help:"Give consent, or accept an invitation."`
	Reject        clientReject        `cmd:"" help:"Refuse consent, or take it back, or decline an invitation."`
	Mode          clientMode          `cmd:"" help:"Say what becomes of strangers who ask or write."`
	Quarantine    clientQuarantine    `cmd:"" help:"See and judge what strangers want, in mode quarantine."`
	Invites       clientInvites       `cmd:"" help:"List who invites you to which room."`
	Room          clientRooms         `cmd:"" help:"Create rooms, list them, add and remove people."`
	Send          clientSend          `cmd:"" help:"Send a message."`
	Read          clientRead          `cmd:"" help:"Read a room's messages."`
	Reply         clientReply         `cmd:"" help:"Answer a message."`
	React         clientReact         `cmd:"" help:"React to a message."`
	Edit          clientEdit          `cmd:"" help:"Change what you have said."`
	Delete        clientDelete        `cmd:"" help:"Take a message or reaction back."`
	Attach        clientAttach        `cmd:"" help:"Send a file."`
	Fetch         clientFetch         `cmd:"" help:"Save a file that somebody sent."`
	Files         clientFiles         `cmd:"" help:"List the files that you keep at your provider, or delete one."`
	Sync          clientSync          `cmd:"" help:"Catch up with everything."`
	Typing        clientTyping        `cmd:"" help:"Tell a room that you are writing something."`
	Receipts      clientReceipts      `cmd:"" help:"Say what others are told of what you got and read."`
	Leave         clientLeave         `cmd:"" help:"Leave a room."`
}

// device is what all user commands have: where the device's state is.
type device struct {
	Dir     string        `help:"Directory of this device's state, encrypted." default:"${client_data}" env:"MIMID_CLIENT_DIR" type:"path"`
	Timeout time.Duration `help:"How long to wait for the provider." default:"30s"`
}

// catchUp says what a command does before its own work.
type catchUp int

const (
	asIs    catchUp = iota // works with what is here
	online                 // catches up, and ends if that cannot be
	offline                // catches up if it can, and says so if not
)

// with opens the device, runs it, and calls f.
func (d *device) with(s *session, first catchUp, f func(ctx context.Context, c *client.Client) error) error {
	return d.withNews(s, first, func(ctx context.Context, c *client.Client, _ bool) error { return f(ctx, c) })
}

// withNews is with; f is told whether the device has caught up.
func (d *device) withNews(s *session, first catchUp, f func(ctx context.Context, c *client.Client, fresh bool) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, d.Timeout)
	defer cancel()
	return d.run(s, ctx, func(ctx context.Context, c *client.Client) error {
		if first == asIs {
			return f(ctx, c, false)
		}
		err := c.Sync(ctx)
		switch {
		case err == nil:
			return f(ctx, c, true)
		case first == online, s.ctx.Err() != nil, codeOf(err) != 3:
			return err
		}
		fmt.Fprintf(s.errw, "mimid: offline, this is what is here; it may be out of date: %v\n", err)
		// The time may be used up. What is here takes none.
		rest, cancel := context.WithTimeout(s.ctx, d.Timeout)
		defer cancel()
		return f(rest, c, false)
	})
}

// open opens the device's directory; the function closes it.
func (d *device) open() (*client.Client, func(), error) {
	if err := os.MkdirAll(filepath.Dir(d.Dir), 0o700); err != nil {
		return nil, nil, err
	}
	st, err := disk.Open(disk.Options{Dir: d.Dir})
	if err != nil {
		return nil, nil, err
	}
	run, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { st.Run(run) })
	closeAll := func() {
		cancel()
		wg.Wait()
		st.Close(context.Background())
	}
	spool, err := disk.OpenSpool(d.Dir)
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	c, err := client.Open(client.Config{Storage: st, Spool: spool})
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return c, closeAll, nil
}

func (d *device) run(s *session, ctx context.Context, f func(ctx context.Context, c *client.Client) error) error {
	if there, err := disk.Exists(d.Dir); err != nil {
		return fmt.Errorf("looking for a device in %s: %w; name the right directory with --dir", d.Dir, err)
	} else if !there {
		return fmt.Errorf("no device is registered in %s; register one with `mimid client register`, or name the right directory with --dir", d.Dir)
	}
	c, closeAll, err := d.open()
	if err != nil {
		return err
	}
	defer closeAll()
	if c.User().IsZero() {
		return fmt.Errorf("no device is registered in %s, though somebody tried: %w", d.Dir, client.ErrNotRegistered)
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(run) }()
	err = f(ctx, c)
	cancel()
	if runErr := <-ended; err == nil || errors.Is(err, client.ErrStopped) && runErr != nil {
		err = runErr
	}
	return err
}

type clientRegister struct {
	Provider string `help:"URL of your provider's client API." placeholder:"URL"`
	From     string `help:"Directory of another device of yours on this machine, whose user this device gets. It stays as it is." placeholder:"DIR" type:"path"`
	Code     string `help:"Code that another device of yours shows, on any machine: see client device add. -: the first line of the input."`
	Invite   string `help:"Invite from your provider's operator; for a further device, one for the same name." placeholder:"CODE"`
	Device   string `help:"Name of this device." default:"device"`
	device   `embed:""`
}

func (c *clientRegister) Help() string {
	return "Example:\n  mimid client register --provider http://127.0.0.1:8448 --invite ohsave7eskkvhxqberkz74epoe --device laptop\n\nA further device of the same user, which then comes into your rooms by itself: with the code that `mimid client device add` shows on the other one, or on the same machine with an invite for the same name:\n  mimid client register --code - --device tablet\n  mimid client register --from ~/.mimid/client --invite ohsave7eskkvhxqberkz74epoe --device tablet --dir tablet"
}

// register registers anew, or as a further device.
func (c *clientRegister) register(ctx context.Context, cl *client.Client) error {
	if c.Code != "" {
		return cl.RegisterByCode(ctx, c.Code, c.Device)
	}
	if c.From == "" {
		return cl.Register(ctx, c.Provider, c.Invite, c.Device)
	}
	if there, err := disk.Exists(c.From); err != nil || !there {
		return fmt.Errorf("no device is registered in %s; name its directory with --from", c.From)
	}
	other, closeOther, err := (&device{Dir: c.From}).open()
	if err != nil {
		return err
	}
	defer closeOther()
	return cl.RegisterFurther(ctx, other, c.Invite, c.Device)
}

func (c *clientRegister) Run(s *session) error {
	var missing []string
	if c.Invite == "" && c.Code == "" {
		missing = append(missing, "--invite=CODE")
	}
	if c.Provider == "" && c.From == "" && c.Code == "" {
		missing = append(missing, "--provider=URL, or --from=DIR of another device of yours, or --code of one on another machine")
	}
	code, err := secretArg(s, "code", c.Code)
	if err != nil {
		return err
	}
	if c.Code != "" && code == "" {
		return usageError("no code came in the input: paste the line that client device add shows")
	}
	c.Code = code
	switch {
	case c.Code != "" && c.Provider+c.From+c.Invite != "":
		return usageError("--code is all that a further device needs: leave --provider, --from and --invite out")
	case len(missing) > 0:
		return usageError("missing flags: " + strings.Join(missing, ", "))
	case c.Provider != "" && c.From != "":
		return usageError("--provider is for your first device, --from for a further one: give one of them")
	}
	cl, closeAll, err := c.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, c.Timeout)
	defer cancel()
	err = c.register(ctx, cl)
	closeAll()
	if err != nil {
		return err
	}
	// Run once, so that KeyPackages are there when somebody wants to add us.
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		if err := cl.Settle(ctx); err != nil {
			return err
		}
		return s.out.result(map[string]string{"user": cl.User().String(), "dir": c.Dir}, func(w io.Writer) {
			fmt.Fprintf(w, "You are %s. This device's keys are in %s.\n", cl.User().Short(), c.Dir)
		})
	})
}

type clientWhoami struct{ device }

func (c *clientWhoami) Help() string {
	return "Needs no connection.\n\nExample:\n  mimid client whoami"
}

func (c *clientWhoami) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		return s.out.result(map[string]string{"user": cl.User().String(), "short": cl.User().Short()}, func(w io.Writer) { fmt.Fprintln(w, cl.User().Short()) })
	})
}

type clientFind struct {
	Identifier string `arg:"" help:"handle:NAME, tel:+NUMBER or mailto:ADDRESS."`
	device     `embed:""`
}

func (c *clientFind) Help() string {
	return "Shows everybody who claims the identifier; several are normal. Nothing is sent to any of them.\n\nExample:\n  mimid client find handle:bob"
}

func (c *clientFind) Run(s *session) error {
	return c.withRelays(s, func(ctx context.Context, cl *client.Client) error {
		res, err := cl.Discover(ctx, c.Identifier)
		if err != nil {
			return err
		}
		return s.out.result(res, func(w io.Writer) {
			for _, f := range res.Found {
				fmt.Fprintf(w, "%s  (%s)%s\n", f.User, standing(f.Verified, f.Authority, f.Provider, f.Method), details(f.VerifiedAt, f.Tags))
			}
			if res.Conflict {
				fmt.Fprintln(w, "Several people claim it. Numbers and addresses change hands: ask whom you mean, then name that one.")
			}
			fmt.Fprintf(w, "%s found in %d ms; %d providers asked%s, %d without a valid answer\n", plural(len(res.Found), "claim"), res.TookMS, res.Asked, overRelays(res.Over), res.Failed)
		})
	})
}

type clientContact struct {
	Who       string `arg:"" help:"User, such as bob@biloxi.example, or handle:NAME, tel:+NUMBER or mailto:ADDRESS."`
	Mutual    bool   `help:"Let them add you, too."`
	Anonymous bool   `help:"Do not say who asks before the answer is yes. Again, to look for an answer."`
	Text      string `help:"With --anonymous: what they see, one line; both providers do, too." placeholder:"TEXT"`
	device    `embed:""`
}

func (c *clientContact) Help() string {
	return "By an identifier, its owner is asked where there is one only; if several people claim it, nobody is.\n\n" +
		"With --anonymous they see your provider and the text. Your provider passes it on: it sees whom you ask, your address and when, but not your name. The same command again looks for an answer, for a week at least; after a yes you are asked for by name, and granted. You can do so a few times a day.\n\n" +
		"Example:\n  mimid client contact bob@biloxi.example\n  mimid client contact bob@biloxi.example --mutual\n  mimid client contact bob@biloxi.example --anonymous --text 'we met on Friday'\n  mimid client contact mailto:bob@mail.example"
}

func (c *clientContact) Run(s *session) error {
	u, err := client.ParseUser(c.Who)
	identifier := err != nil && client.IsIdentifier(c.Who)
	if err != nil && !identifier {
		return err
	}
	switch {
	case c.Anonymous && c.Mutual:
		return usageError("--anonymous and --mutual do not go together: to let them add you is to say who you are")
	case !c.Anonymous && c.Text != "":
		return usageError("--text goes with --anonymous")
	}
	return c.withRelays(s, func(ctx context.Context, cl *client.Client) (err error) {
		if identifier {
			if u, err = cl.Owner(ctx, c.Who); err != nil {
				return err
			}
		}
		if c.Anonymous {
			return s.askAnonymously(ctx, cl, u, c.Text)
		}
		ask := cl.RequestContact
		if c.Mutual {
			ask = cl.Connect
		}
		if err := ask(ctx, u); err != nil {
			return err
		}
		return s.out.result(map[string]string{"asked": u.String()}, func(w io.Writer) {
			fmt.Fprintf(w, "Asked %s. You will hear of it only if the answer is yes.\n", u.Short())
		})
	})
}

type clientRequests struct{ device }

func (c *clientRequests) Help() string { return "Example:\n  mimid client requests" }

func (c *clientRequests) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Requests(ctx)
		if err != nil {
			return err
		}
		names := []string{}
		for _, u := range list {
			names = append(names, u.Short())
		}
		return s.out.result(map[string][]string{"requests": names}, func(w io.Writer) {
			for _, n := range names {
				fmt.Fprintln(w, n)
			}
			if len(names) == 0 {
				fmt.Fprintln(w, "Nobody asks.")
			}
		})
	})
}

type clientAccept struct {
	Who    string `arg:"" help:"User, such as alice@atlanta.example."`
	Room   string `help:"URI of the one room to which they may add you; without it, of any." placeholder:"URI"`
	device `embed:""`
}

func (c *clientAccept) Help() string {
	return "With --room it accepts an invitation, see client invites: you are in the room as soon as the inviter's device has added you.\n\nExample:\n  mimid client accept alice@atlanta.example\n  mimid client accept alice@atlanta.example --room mimi://atlanta.example/r/clubhouse"
}

func (c *clientAccept) Run(s *session) error {
	u, err := client.ParseUser(c.Who)
	if err != nil {
		return err
	}
	if c.Room != "" {
		return answerInvite(s, &c.device, "accepted", c.Room, u, "%s may add you to %s.\n", (*client.Client).AcceptInvitation)
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		if err := cl.Accept(ctx, u); err != nil {
			return err
		}
		return s.out.result(map[string]string{"accepted": u.String()}, func(w io.Writer) { fmt.Fprintf(w, "%s may add you to rooms.\n", u.Short()) })
	})
}

type clientReject struct {
	Who     string `arg:"" help:"User, such as alice@atlanta.example."`
	Room    string `help:"URI of the one room that it is about; without it, of any." placeholder:"URI"`
	Block   bool   `help:"Refuse them in all rooms, and never show that they ask."`
	Unblock bool   `help:"Take a block back; they are refused still, and can be accepted."`
	device  `embed:""`
}

func (c *clientReject) Help() string {
	return "With --room it declines an invitation, and the inviter is told; otherwise nobody is.\n\nExample:\n  mimid client reject mallory@atlanta.example\n  mimid client reject mallory@atlanta.example --block\n  mimid client reject alice@atlanta.example --room mimi://atlanta.example/r/clubhouse"
}

func (c *clientReject) Run(s *session) error {
	u, err := client.ParseUser(c.Who)
	if err != nil {
		return err
	}
	if c.Room != "" && (c.Block || c.Unblock) {
		return usageError("a block is of all rooms: leave out --room")
	}
	if c.Room != "" {
		return answerInvite(s, &c.device, "declined", c.Room, u, "%s may not add you to %s.\n", (*client.Client).Decline)
	}
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		say := cl.Reject
		switch {
		case c.Block:
			say = cl.Block
		case c.Unblock:
			say = cl.Unblock
		}
		if err := say(ctx, u); err != nil {
			return err
		}
		return s.out.result(map[string]string{"rejected": u.String()}, func(w io.Writer) { fmt.Fprintf(w, "%s may not add you to rooms.\n", u.Short()) })
	})
}

type clientRooms struct {
	Create clientRoomCreate `cmd:"" help:"Create a room."`
	Direct clientRoomDirect `cmd:"" help:"Get the room of you and somebody else alone."`
	List   clientRoomList   `cmd:"" help:"List your rooms."`
	Show   clientRoomShow   `cmd:"" help:"Show a room, and what its members can compare."`
	Add    clientRoomAdd    `cmd:"" help:"Add somebody who gave you consent."`
	Remove clientRoomRemove `cmd:"" help:"Remove somebody."`
	Role   clientRoomRole   `cmd:"" help:"Give somebody another role."`
	Roles  clientRoomRoles  `cmd:"" help:"Show what the room's roles may do."`
	Kick   clientRoomKick   `cmd:"" help:"Take somebody's devices out of a room, for now."`
	Report clientRoomReport `cmd:"" help:"Show what somebody said to the operator of the room's hub."`
	Ban    clientRoomBan    `cmd:"" help:"Keep somebody out of a room."`
	Unban  clientRoomUnban  `cmd:"" help:"Lift a ban."`

	Policy   clientRoomPolicy   `cmd:"" help:"Show or set the policy of a room: how many take part, receipts, expiry."`
	Name     clientRoomName     `cmd:"" help:"Give a room another name."`
	Topic    clientRoomTopic    `cmd:"" help:"Say what a room is about."`
	Describe clientRoomDescribe `cmd:"" help:"Say what a room is for."`
	Destroy  clientRoomDestroy  `cmd:"" help:"End a room for everybody."`

	Move   clientRoomMove   `cmd:"" help:"Move a room, whose provider is gone, to yours."`
	Claim  clientRoomClaim  `cmd:"" help:"Claim a room whose administrators are gone."`
	Rejoin clientRoomRejoin `cmd:"" help:"Come back into a room that was moved away from your provider."`

	Endorse    clientRoomEndorse    `cmd:"" help:"Join somebody's claim to a room."`
	Object     clientRoomObject     `cmd:"" help:"End a claim: you are not gone, or give up."`
	Succession clientRoomSuccession `cmd:"" help:"Show or set who succeeds the administrators, and after how long."`

	Privacy clientRoomPrivacy `cmd:"" help:"Say whether the room's hub may learn which of its members sends your messages, and what that is worth."`

	Recruit clientRoomRecruit `cmd:"" help:"Have another provider keep a room of two, so that it survives either."`

	Invite clientRoomInvite `cmd:"" help:"Offer somebody to be in a room."`

	Knock  clientRoomKnock  `cmd:"" help:"Ask to be let into a room that you have only the address of."`
	Knocks clientRoomKnocks `cmd:"" help:"Show where your knocks stand, or who waits at a room's door."`
	Answer clientRoomAnswer `cmd:"" help:"Let somebody in who waits at a room's door, or refuse."`

	Link   clientRoomLink   `cmd:"" help:"Make a link by which people come into a room."`
	Links  clientRoomLinks  `cmd:"" help:"List the links that lead into a room."`
	Unlink clientRoomUnlink `cmd:"" help:"Revoke links."`

	Join clientRoomJoin `cmd:"" help:"Join a room by a link, or by its address if it lets people in."`
	Find clientRoomFind `cmd:"" help:"Find out who orders a room that you have only the address of."`
}

type clientRoomCreate struct {
	Name           string `arg:"" help:"Name of the room, for its members only."`
	Preset         string `help:"What its roles are: group, where members write and add others, or channel, where newcomers only read." enum:"group,channel" default:"group"`
	Open           string `help:"Let anybody who has the address join by itself, as this role, such as member." placeholder:"ROLE"`
	Parent         string `help:"Only who takes part in this room of yours may take part, and who leaves it goes: see the help of this command." placeholder:"ROOM"`
	Pseudonymous   bool   `help:"Make a room in which only its members learn who takes part: providers see pseudonyms. Some things are not there yet: see the help of this command."`
	OutsideReplica bool   `help:"Allow that a provider in which nobody takes part keeps the room, too, while two providers do: see client room recruit."`
	device         `embed:""`
}

func (c *clientRoomCreate) Help() string {
	return "With --parent, the new room depends on another one: only some of those may take part who are in that one, and who leaves it, or is put out of it, is taken out of the new one by the provider that orders it. It must be made at the provider that orders the other one.\n\nExample:\n  mimid client room create clubhouse\n  mimid client room create board --parent clubhouse\n  mimid client room create clubhouse --outside-replica\n  mimid client room create news --preset channel\n  mimid client room create market --open member\n  mimid client room create circle --pseudonymous\n\nIn a room with --pseudonymous people are added by who is in it, or come by a link. There are no invitations, and nobody knocks, as that would tell a name. Who reports abuse is a pseudonym, or nobody, and what is reported goes to the provider of who said it, too. The room's name is seen by the providers, as in any room."
}

func (c *clientRoomCreate) Run(s *session) error {
	if err := roomName(c.Name); err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		roles, err := client.Preset(c.Preset)
		if err != nil {
			return err
		}
		if c.Open != "" {
			if roles, err = client.OpenTo(roles, c.Open); err != nil {
				return usageError(err.Error())
			}
		}
		n := client.NewRoom{Name: c.Name, Roles: roles, Outside: c.OutsideReplica}
		if c.Pseudonymous {
			if c.Open != "" || c.Parent != "" {
				return usageError("--pseudonymous goes with neither --open nor --parent")
			}
			n.Pseudonymous = true
		}
		if c.Parent != "" {
			parent, err := cl.FindRoom(ctx, c.Parent)
			if err != nil {
				return err
			}
			n.Parent = parent.URI
		}
		r, err := cl.CreateRoomAs(ctx, n)
		if err != nil {
			return err
		}
		if err := cl.Settle(ctx); err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.String(), "name": c.Name}, func(w io.Writer) { fmt.Fprintln(w, r) })
	})
}

// roomName refuses names that nobody could type or see.
func roomName(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return usageError("a room needs a name that is not empty")
	case !utf8.ValidString(s), strings.ContainsFunc(s, unicode.IsControl):
		return usageError("a room's name is one line of text, without control characters")
	}
	return nil
}

type roomView struct {
	URI          string   `json:"uri"`
	Name         string   `json:"name"`
	Direct       string   `json:"direct,omitempty"`    // with whom
	Successor    string   `json:"successor,omitempty"` // of a direct room that has yielded
	Topic        string   `json:"topic,omitempty"`
	State        string   `json:"state"`
	Reason       string   `json:"reason,omitempty"`
	Messages     uint64   `json:"messages"`
	Participants []string `json:"participants"`
	Pending      []string `json:"pending,omitempty"`
	Pseudonymous bool     `json:"pseudonymous,omitempty"`
	client.RoomPrivacy
}

func viewOf(r client.Room) roomView {
	v := roomView{URI: r.URI.String(), Name: strings.ReplaceAll(printable(r.Name, ""), "\n", " "), Topic: strings.ReplaceAll(printable(r.Topic, ""), "\n", " "), State: string(r.State), Reason: r.Reason, Messages: r.Messages, Participants: []string{}, Pseudonymous: r.Pseudonymous, RoomPrivacy: r.Privacy}
	if !r.Direct.IsZero() {
		v.Direct, v.Name = r.Direct.Short(), r.Direct.Short()
	}
	if !r.Successor.IsZero() {
		v.State, v.Successor = "merged", r.Successor.String()
	}
	for _, p := range r.Participants {
		line := fmt.Sprintf("%s (%s, %s)", p.User.Short(), p.Role, plural(p.Clients, "client"))
		if p.Unnamed != nil {
			line += ", not named: " + p.Unnamed.Error()
		}
		if p.Doubt != nil {
			line += ", not every one of them proven: " + p.Doubt.Error()
		}
		v.Participants = append(v.Participants, line)
	}
	for _, u := range r.Pending {
		v.Pending = append(v.Pending, u.Short())
	}
	return v
}

type clientRoomList struct{ device }

func (c *clientRoomList) Help() string {
	return "Without a connection it shows what was known last, and says so.\n\nExample:\n  mimid client room list"
}

func (c *clientRoomList) Run(s *session) error {
	return c.with(s, offline, func(ctx context.Context, cl *client.Client) error {
		rooms, err := cl.Rooms(ctx)
		if err != nil {
			return err
		}
		views := []roomView{}
		for _, r := range rooms {
			views = append(views, viewOf(r))
		}
		return s.out.result(map[string]any{"rooms": views}, func(w io.Writer) {
			table(w, "NAME\tSTATE\tPRIVACY\tMESSAGES\tPARTICIPANTS\tURI", func(w io.Writer) {
				for _, v := range views {
					if v.Successor != "" {
						continue // what was there is in the other
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", v.Name, v.State, v.Level, v.Messages, len(v.Participants), v.URI)
				}
			})
			for _, v := range views {
				if v.Reason != "" && v.Successor == "" {
					fmt.Fprintf(w, "%s: %s: %s\n", v.URI, v.State, printable(v.Reason, ""))
				}
			}
		})
	})
}

type clientRoomShow struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientRoomShow) Help() string { return "Example:\n  mimid client room show clubhouse" }

func (c *clientRoomShow) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		v, err := cl.Verify(ctx, r.URI)
		if err != nil {
			return err
		}
		o, err := cl.Outside(ctx, r.URI)
		if err != nil {
			return err
		}
		now, err := worthNow(ctx, s, cl, r)
		if err != nil {
			return err
		}
		shown := map[string]any{"room": viewOf(r), "epoch": v.Epoch, "authenticator": v.Authenticator, "entries": v.Next, "head": v.Head,
			"outside_replica": outsideView{Room: r.URI.String(), Allowed: o.Allowed, Recruit: o.Recruit}}
		if now != nil {
			shown["privacy_now"] = now
		}
		return s.out.result(shown, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s\n  epoch          %d\n  authenticator  %s\n  log            %d entries, head %s\n", viewOf(r).Name, r.URI, v.Epoch, v.Authenticator, v.Next, v.Head)
			if t := viewOf(r).Topic; t != "" {
				fmt.Fprintf(w, "  topic          %s\n", t)
			}
			if r.Pseudonymous {
				fmt.Fprintln(w, "  pseudonymous   providers do not see these names")
			}
			printRoomPrivacy(w, r.Privacy, now)
			for _, p := range viewOf(r).Participants {
				fmt.Fprintf(w, "  %s\n", p)
			}
			for _, p := range viewOf(r).Pending {
				fmt.Fprintf(w, "  %s (pending: being added, is tried again)\n", p)
			}
			if o.Recruit != "" {
				fmt.Fprintln(w, keeps(o.Recruit, "this room"))
			}
			fmt.Fprintln(w, "If authenticator and head are the same at another member, you are in the same group and saw the same log.")
		})
	})
}

type clientRoomRemove struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	Who    string `arg:"" help:"User, such as bob@biloxi.example."`
	device `embed:""`
}

func (c *clientRoomRemove) Help() string {
	return "Example:\n  mimid client room remove clubhouse bob@biloxi.example"
}

func (c *clientRoomRemove) Run(s *session) error {
	u, err := client.ParseUser(c.Who)
	if err != nil {
		return err
	}
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(r.Participants, func(p client.Participant) bool { return p.User == u }) {
			return fmt.Errorf("%s is not in %s; `mimid client room show` lists who is", u.Short(), viewOf(r).Name)
		}
		if err := cl.RemoveUser(ctx, r.URI, u); err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.URI.String(), "removed": u.String()}, func(w io.Writer) { fmt.Fprintf(w, "%s is out of %s.\n", u.Short(), viewOf(r).Name) })
	})
}

type clientSync struct{ device }

func (c *clientSync) Help() string {
	return "Sends what is kept here and reads what was missed.\n\nExample:\n  mimid client sync"
}

func (c *clientSync) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		if err := errors.Join(cl.Settle(ctx), cl.SettleReceipts(ctx)); err != nil {
			return err
		}
		if err := failedFiles(cl); err != nil {
			return err
		}
		rooms, err := cl.Rooms(ctx)
		if err != nil {
			return err
		}
		n := uint64(0)
		for _, r := range rooms {
			n += r.Messages
			if why, err := cl.Held(ctx, r.URI); err == nil && why != "" {
				fmt.Fprintf(s.errw, "mimid: what you send to %s waits, and goes no other way than over relays: %s\n", viewOf(r).Name, printable(why, ""))
			}
		}
		return s.out.result(map[string]any{"rooms": len(rooms), "messages": n}, func(w io.Writer) {
			fmt.Fprintf(w, "up to date: %s, %s\n", plural(len(rooms), "room"), plural(int(n), "message"))
		})
	})
}

type clientLeave struct {
	Room   string `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *clientLeave) Help() string { return "Example:\n  mimid client leave clubhouse" }

func (c *clientLeave) Run(s *session) error {
	return c.with(s, online, func(ctx context.Context, cl *client.Client) error {
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		if err := cl.Leave(ctx, r.URI); err != nil {
			return err
		}
		return s.out.result(map[string]string{"room": r.URI.String()}, func(w io.Writer) {
			if !r.Direct.IsZero() {
				fmt.Fprintf(w, "The room of you and %s has ended. `mimid client room direct %s` makes a new one.\n", viewOf(r).Name, viewOf(r).Name)
				return
			}
			if now, err := cl.FindRoom(ctx, r.URI.String()); err == nil && now.State == "left" {
				fmt.Fprintf(w, "%s: %s.\n", viewOf(r).Name, now.Reason)
				return
			}
			fmt.Fprintf(w, "The hub knows that you leave %s; another member's device completes it.\n", viewOf(r).Name)
		})
	})
}
