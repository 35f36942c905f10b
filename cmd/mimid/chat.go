package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
)

type chatCommand struct {
	Room   string `arg:"" optional:"" help:"Name or URI of the room, or the beginning of its id."`
	device `embed:""`
}

func (c *chatCommand) Help() string {
	return "Type to send; messages stream in. Lines that begin with / are commands, /help lists them.\nTo answer, react, edit, delete: /reply N, /react N, /edit N, /delete N, where N is the number before a message.\n\nExample:\n  mimid chat clubhouse"
}

const chatHelp = `What you type is sent. Each message has a number, before its time: N below.
@WHO in a line    mentions somebody, such as @bob@biloxi.example

saying things
/reply N TEXT     answer message N
/react N EMOJI    react to it
/edit N TEXT      change what you said
/delete N         take a message or reaction back
/md TEXT          say it in Markdown
/expire TIME TEXT say it for a while, such as /expire 1h back at noon
/attach FILE      send a file; /attach FILE -- TEXT says something with it
/fetch N [PATH]   save the file of message N
/typing           tell the others that you are writing
rooms
/rooms            your rooms
/join ROOM        talk in a room; /join LINK comes into one
/link [N]         make a link for one person, or N
/new NAME         create a room and talk in it
/direct WHO       talk with somebody alone, who gave you consent
/leave            leave the room
people
/who              who is here
/add WHO          add somebody who gave you consent
/contact WHO      ask somebody for consent
/requests         who asks you for consent
/accept WHO       give it
keeping order
/kick WHO         take somebody's devices out, for now
/ban WHO          keep somebody out; /unban WHO lifts it
/knocks           who waits to be let in
/admit WHO        let them in; /refuse WHO does not
/report N NOTE    show message N to the operator of the room's provider
/endorse          join a claim to the room whose administrators are gone

/help             this
/quit             end`

// chat is one conversation in line mode.
type chat struct {
	s    *session
	c    *client.Client
	room client.Room
	next uint64 // index of the first message that was not shown
	// own are this user's messages that are on their way, as they were shown.
	own map[uint64]client.State
	// shown are the messages that were shown, of a direct room: another one may take its
	// place, where they have other indexes.
	shown map[client.MessageID]bool
	ctx   context.Context // of the whole conversation
	// later is what goroutines have to say, who bring or fetch files.
	later chan func()
	files sync.WaitGroup
	// patience is how long the end waits for what was typed to go out.
	patience time.Duration
}

func (c *chatCommand) Run(s *session) error {
	return c.device.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := c.sync(ctx, cl); err != nil {
			if codeOf(err) != 3 {
				return err
			}
			fmt.Fprintf(s.errw, "mimid: offline, what you type is kept and goes out later: %v\n", err)
		}
		ch := &chat{s: s, c: cl, ctx: ctx, patience: c.Timeout, later: make(chan func())}
		defer ch.files.Wait()
		defer cancel() // ends them
		if c.Room != "" {
			if err := ch.join(ctx, c.Room); err != nil {
				return err
			}
		} else {
			ch.say("user", cl.User().Short(), "You are %s. /rooms lists your rooms, /join ROOM enters one, /help says more.", cl.User().Short())
		}
		return ch.talk(ctx)
	})
}

func (c *chatCommand) sync(ctx context.Context, cl *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return cl.Sync(ctx)
}

// say prints a line, and as JSON an object with one field.
func (ch *chat) say(field string, value any, format string, args ...any) {
	ch.s.out.result(map[string]any{field: value}, func(w io.Writer) { fmt.Fprintf(w, format+"\n", args...) })
}

// complain says what went wrong; the chat goes on.
func (ch *chat) complain(err error) { complain(ch.s.errw, ch.s.out.json, err, codeOf(err)) }

// typed is a line of the input, or why there is none.
type typed struct {
	line string
	err  error
}

// maxLine bounds a line of the input.
const maxLine = 64 << 10

var errLine = fmt.Errorf("that line is longer than %d bytes and was not sent: send it in parts", maxLine)

// readLines hands out lines until the input ends. What is too long is skipped up to
// its end, so that no part of it is taken for a line.
func readLines(ctx context.Context, r io.Reader, lines chan<- typed) {
	defer close(lines)
	in := bufio.NewReaderSize(r, maxLine+2) // with the line's end
	for {
		b, err := in.ReadSlice('\n')
		t := typed{line: strings.TrimRight(string(b), "\r\n")}
		for errors.Is(err, bufio.ErrBufferFull) {
			t.err = errLine
			_, err = in.ReadSlice('\n')
		}
		if len(t.line) > maxLine {
			t.err = errLine
		}
		if err != nil && err != io.EOF {
			t.err = fmt.Errorf("reading what is typed: %w", err)
		}
		if err == nil || t.line != "" || t.err != nil {
			select {
			case lines <- t:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// talk reads lines and notices until the input ends.
func (ch *chat) talk(ctx context.Context) error {
	lines := make(chan typed)
	go readLines(ctx, ch.s.in, lines)
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-ch.c.Events():
			ch.notice(n)
		case f := <-ch.later:
			f()
		case t, ok := <-lines:
			if !ok {
				return ch.end(ctx)
			}
			if t.err == nil {
				t.err = ch.obey(ctx, strings.TrimSpace(t.line))
			}
			if errors.Is(t.err, errQuit) {
				return ch.end(ctx)
			} else if t.err != nil {
				ch.complain(t.err)
			}
		}
	}
}

var errQuit = errors.New("quit")

// end lets what was typed go out.
func (ch *chat) end(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ch.patience)
	defer cancel()
	if !ch.settleFiles(ctx) {
		ch.complain(errFilesLate)
	}
	err := ch.c.Settle(ctx)
	ch.show()
	if err == nil {
		late, cancel := context.WithTimeout(ctx, receiptsTime)
		defer cancel()
		ch.c.SettleReceipts(late) // or they go out the next time
	}
	if err != nil {
		return fmt.Errorf("what was typed is kept and goes out the next time: %w", err)
	}
	return nil
}

// errFilesLate is said at the end of a chat.
var errFilesLate = errors.New("files are still on their way: what was taken in goes on when this device runs the next time")

// settleFiles waits for the files that are brought and fetched; false: they take too long.
func (ch *chat) settleFiles(ctx context.Context) bool {
	done := make(chan struct{})
	go func() {
		ch.files.Wait()
		close(done)
	}()
	for {
		select {
		case f := <-ch.later:
			f()
		case <-done:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

func (ch *chat) notice(n client.Notice) {
	switch n := n.(type) {
	case client.MembersChanged:
		if n.Room != ch.room.URI {
			return
		}
		for _, u := range n.Added {
			ch.say("came", u.Short(), "         %s came", u.Short())
		}
		for _, u := range n.Removed {
			ch.say("left", u.Short(), "         %s left", u.Short())
		}
	case client.ReceiptsChanged:
		if n.Room == ch.room.URI {
			ch.receipts(n)
		}
	case client.Typing:
		switch {
		case n.Room != ch.room.URI:
		case n.On:
			ch.say("typing", n.User.Short(), "         %s is typing", n.User.Short())
		case ch.s.out.json:
			ch.say("typing_ended", n.User.Short(), "")
		}
	case client.ConsentChanged:
		switch {
		case n.Room != "":
			ch.invitation(n)
		case n.State == "requested" && n.Target == ch.c.User():
			ch.say("asks_consent", n.Requester.Short(), "         %s asks for your consent: /accept %s", n.Requester.Short(), n.Requester.Short())
		}
	case client.Introduced:
		ch.say("introduction", n.Introduction, "         %s: mimid client introductions", introductionSays(n.Introduction))
	case client.RivalsChanged:
		ch.rivals(n)
	case client.KnockChanged:
		ch.knock(n.Knock)
	case client.HubChanged:
		if n.Room == ch.room.URI {
			ch.say("hub", n.Hub, "         the room is now ordered by %s", n.Hub)
		}
	case client.RecruitChanged:
		if n.Room == ch.room.URI {
			ch.recruit(n)
		}
	case client.SuccessionStep:
		if n.Room == ch.room.URI {
			ch.succession(n)
		}
	case client.HubLied:
		if n.Room == ch.room.URI && n.Votes {
			ch.say("hub_lied", n.Hub, "WARNING  %s, one of those that decide who orders the room, has voted twice; nothing that it says about that counts any more. Your operator has the proof.", n.Hub)
		} else if n.Room == ch.room.URI {
			ch.say("hub_lied", n.Hub, "WARNING  %s, which orders the room, has signed what cannot be; another provider is looked for. Your operator has the proof.", n.Hub)
		}
	case client.ProviderSilent:
		if n.Silent {
			ch.say("provider_silent", "", "         your provider does not answer; nothing comes, and what you send waits here")
		} else {
			ch.say("provider_back", "", "         your provider answers again")
		}
	case client.HubStalls:
		switch {
		case n.Room != ch.room.URI:
		case !n.Stalls:
			ch.say("hub_back", n.Hub, "         the room's provider %s does its work again", n.Hub)
		case n.Moves:
			ch.say("hub_stalls", n.Hub, "         the room's provider %s answers and orders nothing; the room's other providers are asked to see to it, what you send waits", n.Hub)
		default:
			ch.say("hub_stalls", n.Hub, "         the room's provider %s answers and orders nothing; what you send waits", n.Hub)
		}
	case client.HubSilent:
		switch {
		case n.Room != ch.room.URI:
		case !n.Silent:
			ch.say("hub_back", n.Hub, "         the room's provider %s answers again", n.Hub)
		case n.Moves:
			ch.say("hub_silent", n.Hub, "         the room's provider %s does not answer; the room is moving, what you send waits", n.Hub)
		default:
			ch.say("hub_silent", n.Hub, "         the room's provider %s does not answer; what you send waits until it is back", n.Hub)
		}
	case client.UserKeyChanged:
		ch.say("other_key", n.User.Short(), "WARNING  %s has another key than before. Ask them by another way whether they lost their devices.", n.User.Short())
	case client.SendState:
		if n.Room == ch.room.URI && n.State == client.StateQueued && n.Err != nil {
			ch.say("waits", n.Err.Error(), "         what you send waits, and goes no other way than over relays: %s", printable(n.Err.Error(), ""))
		}
	case client.AttachFailed:
		ch.complain(fmt.Errorf("%s was not sent: %w", printable(n.Name, ""), n.Err))
	case client.Problem:
		ch.complain(n.Err)
	}
	ch.show()
}

// show prints the messages that have not been shown, and the own ones again that
// got further: queued, accepted, failed. That a message is final after it was
// accepted is said in JSON only.
func (ch *chat) show() {
	if ch.room.URI.IsZero() {
		return
	}
	if !ch.room.Direct.IsZero() {
		ch.goOn()
	}
	for _, i := range slices.Sorted(maps.Keys(ch.own)) {
		list, err := ch.c.Messages(ch.room.URI, i, 1)
		if err != nil {
			ch.complain(err)
			return
		}
		if len(list) == 1 && list[0].Index == i && list[0].State != ch.own[i] {
			ch.print(list[0], ch.own[i] == client.StateAccepted && !ch.s.out.json)
		}
	}
	for {
		list, err := ch.c.Messages(ch.room.URI, ch.next, 1000)
		if err != nil {
			ch.complain(err)
			return
		}
		if len(list) == 0 {
			return
		}
		for _, m := range list {
			ch.print(m, ch.shown[m.ID])
			if ch.next = m.Index + 1; ch.shown != nil {
				ch.shown[m.ID] = true
			}
		}
		if err := ch.c.MarkRead(ch.ctx, ch.room.URI, ch.next-1); err != nil {
			ch.complain(err)
			return
		}
	}
}

// goOn goes over to the direct room that has taken the place of this one.
func (ch *chat) goOn() {
	u, err := ch.c.Current(ch.ctx, ch.room.URI)
	if err != nil || u == ch.room.URI {
		return
	}
	r, err := ch.c.FindRoom(ch.ctx, u.String())
	if err != nil {
		ch.complain(err)
		return
	}
	ch.room, ch.next, ch.own = r, 0, map[uint64]client.State{}
	ch.say("merged", viewOf(r), "         you and %s each made a room; this is the one that is left", r.Direct.Short())
}

// print shows a message, unless it is to be silent, and remembers how far it is.
func (ch *chat) print(m client.Message, silent bool) {
	if !silent {
		ch.s.out.result(messageView(m), func(w io.Writer) { printMessage(w, m) })
	}
	switch m.State {
	case client.StateQueued, client.StateAccepted:
		ch.own[m.Index] = m.State
	default:
		delete(ch.own, m.Index)
	}
}

// receipts says that messages came to somebody or were read.
func (ch *chat) receipts(n client.ReceiptsChanged) {
	for _, x := range []struct {
		field, what string
		list        []uint64
	}{{"delivered", "delivered to", n.Delivered}, {"read", "read by", n.Read}} {
		if len(x.list) == 0 || x.field == "delivered" && len(n.Read) == len(x.list) {
			continue // who has read it has it
		}
		names := make([]string, len(x.list))
		for i, m := range x.list {
			names[i] = strconv.FormatUint(m, 10)
		}
		ch.say(x.field, map[string]any{"user": n.From.Short(), "messages": x.list}, "         %s %s %s", strings.Join(names, ", "), x.what, n.From.Short())
	}
}

func (ch *chat) join(ctx context.Context, name string) error {
	r, err := ch.c.FindRoom(ctx, name)
	if err != nil {
		return err
	}
	ch.room, ch.next, ch.own, ch.shown = r, 0, map[uint64]client.State{}, nil
	if !r.Direct.IsZero() {
		ch.shown = map[client.MessageID]bool{}
	}
	if n := r.Messages; n > 20 {
		ch.next = n - 20
	}
	ch.show()
	if o, err := ch.c.Outside(ctx, r.URI); err == nil && o.Recruit != "" {
		ch.recruit(client.RecruitChanged{Room: r.URI, Recruit: o.Recruit})
	}
	if x, err := ch.c.Succession(ctx, r.URI); err == nil && x.Claim != nil {
		ch.succession(client.SuccessionStep{Room: r.URI, Step: client.StepClaimed, By: x.Claim.Claimant, Claim: *x.Claim})
	}
	return nil
}

// errNoRoomYet answers what needs a room.
var errNoRoomYet = errors.New("you are in no room: /rooms lists yours, /join ROOM enters one, /new NAME creates one")

// needs is what must be there before a command is obeyed.
type needs struct {
	room bool
	arg  string // what follows the command; empty if nothing does
}

// needsOf tells what a command needs, and whether there is such a command.
func needsOf(command string) (needs, bool) {
	switch command {
	case "/help", "/quit", "/rooms", "/requests":
		return needs{}, true
	case "/join":
		return needs{arg: "ROOM"}, true
	case "/new":
		return needs{arg: "NAME"}, true
	case "/contact", "/accept", "/direct":
		return needs{arg: "WHO"}, true
	case "/who", "/leave", "/endorse", "/knocks", "/typing", "/link":
		return needs{room: true}, true
	case "/add", "/kick", "/ban", "/unban", "/admit", "/refuse":
		return needs{room: true, arg: "WHO"}, true
	case "/reply", "/edit":
		return needs{room: true, arg: "NUMBER TEXT"}, true
	case "/react":
		return needs{room: true, arg: "NUMBER EMOJI"}, true
	case "/delete", "/fetch":
		return needs{room: true, arg: "NUMBER"}, true
	case "/attach":
		return needs{room: true, arg: "FILE"}, true
	case "/md":
		return needs{room: true, arg: "TEXT"}, true
	case "/expire":
		return needs{room: true, arg: "TIME TEXT"}, true
	case "/report":
		return needs{room: true, arg: "NUMBER NOTE"}, true
	}
	return needs{}, false
}

// obey does what a line asks for, and gives up after the chat's patience.
func (ch *chat) obey(ctx context.Context, line string) error {
	if line == "" {
		return nil
	}
	if ok, err := ch.file(ctx, line); ok {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, ch.patience)
	defer cancel()
	if !strings.HasPrefix(line, "/") {
		if ch.room.URI.IsZero() {
			return errNoRoomYet
		}
		if err := messageText(line); err != nil {
			return err
		}
		return ch.send(ctx, client.Words{Text: line}.Say())
	}
	command, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	n, ok := needsOf(command)
	switch {
	case !ok:
		return fmt.Errorf("there is no command %s; /help lists them", command)
	case n.room && ch.room.URI.IsZero():
		return errNoRoomYet
	case n.arg != "" && arg == "":
		return fmt.Errorf("%s what? Type: %s %s", command, command, n.arg)
	}
	return ch.command(ctx, command, arg)
}

func (ch *chat) send(ctx context.Context, m *client.Content) error {
	_, err := ch.c.SendContent(ctx, ch.room.URI, m)
	ch.show()
	return err
}

// fleeting makes a message of a while and a text.
func fleeting(arg string, now time.Time) (*client.Content, error) {
	while, text, _ := strings.Cut(arg, " ")
	d, err := time.ParseDuration(while)
	if err != nil || d < time.Second {
		return nil, fmt.Errorf("%.40q is no while of a second or more: type one such as 30s, 10m or 24h, and then what you say", while)
	}
	if text = strings.TrimSpace(text); text == "" {
		return nil, fmt.Errorf("say what? Type: /expire %s TEXT", while)
	}
	if err := messageText(text); err != nil {
		return nil, err
	}
	m := client.Words{Text: text}.Say()
	return m, client.EndingAt(m, now.Add(d))
}

func (ch *chat) command(ctx context.Context, command, arg string) error {
	switch command {
	case "/help":
		ch.say("help", chatHelp, "%s", chatHelp)
		return nil
	case "/quit":
		return errQuit
	case "/rooms":
		rooms, err := ch.c.Rooms(ctx)
		for _, r := range rooms {
			ch.say("room", viewOf(r), "%s  %s  %s", viewOf(r).Name, r.State, r.URI)
		}
		return err
	case "/join":
		err := ch.join(ctx, arg)
		if errors.Is(err, client.ErrName) && strings.HasPrefix(arg, "mimi:") {
			return ch.joinBy(ctx, arg)
		}
		return err
	case "/link":
		return ch.link(ctx, arg)
	case "/direct":
		who, err := client.ParseUser(arg)
		if err != nil {
			return err
		}
		u, err := ch.c.Direct(ctx, who)
		if err != nil {
			return err
		}
		if err := ch.join(ctx, u.String()); err != nil {
			return err
		}
		ch.say("entered", viewOf(ch.room), "         you talk with %s now", who.Short())
		return nil
	case "/new":
		if err := roomName(arg); err != nil {
			return err
		}
		u, err := ch.c.CreateRoom(ctx, arg)
		if err != nil {
			return err
		}
		if err := ch.c.Settle(ctx); err != nil {
			return fmt.Errorf("the room is not there yet, look with /rooms: %w", err)
		}
		if err := ch.join(ctx, u.String()); err != nil {
			return err
		}
		ch.say("entered", viewOf(ch.room), "         you are in %s now", viewOf(ch.room).Name)
		return nil
	case "/requests":
		list, err := ch.c.Requests(ctx)
		for _, u := range list {
			ch.say("asks_consent", u.Short(), "%s", u.Short())
		}
		return err
	case "/reply", "/react", "/edit", "/delete":
		m, err := ch.about(command, arg)
		if err != nil {
			return err
		}
		return ch.send(ctx, m)
	case "/md":
		if err := messageText(arg); err != nil {
			return err
		}
		return ch.send(ctx, client.Words{Text: arg, Markdown: true}.Say())
	case "/expire":
		m, err := fleeting(arg, time.Now())
		if err != nil {
			return err
		}
		return ch.send(ctx, m)
	case "/knocks":
		list, _, err := ch.c.RoomKnocks(ctx, ch.room.URI)
		for _, k := range list {
			ch.say("knock", knockView(k), "%s", waits(k))
		}
		if err == nil && len(list) == 0 {
			ch.say("knocks", list, "nobody waits to be let in")
		}
		return err
	case "/contact", "/accept", "/add", "/kick", "/ban", "/unban", "/admit", "/refuse":
		u, err := client.ParseUser(arg)
		switch {
		case err != nil:
			return err
		case command == "/contact":
			return ch.c.RequestContact(ctx, u)
		case command == "/accept":
			return ch.c.Accept(ctx, u)
		case command == "/admit":
			return ch.c.AcceptKnock(ctx, ch.room.URI, u)
		case command == "/refuse":
			return ch.c.RefuseKnock(ctx, ch.room.URI, u, "")
		case command == "/kick":
			return ch.c.Kick(ctx, ch.room.URI, u)
		case command == "/ban":
			return ch.c.Ban(ctx, ch.room.URI, u)
		case command == "/unban":
			return ch.c.Unban(ctx, ch.room.URI, u)
		}
		return ch.c.AddUser(ctx, ch.room.URI, u)
	case "/typing":
		return ch.c.SetTyping(ctx, ch.room.URI, true)
	case "/report":
		return ch.report(ctx, arg)
	case "/endorse":
		return ch.c.EndorseClaim(ctx, ch.room.URI)
	case "/who":
		r, err := ch.c.FindRoom(ctx, ch.room.URI.String())
		for _, p := range viewOf(r).Participants {
			ch.say("participant", p, "%s", p)
		}
		return err
	}
	// It is /leave.
	left := ch.room
	if err := ch.c.Leave(ctx, left.URI); err != nil {
		return err
	}
	ch.room = client.Room{}
	if !left.Direct.IsZero() {
		ch.say("left_room", left.URI.String(), "         the room of you and %s has ended. /direct %s makes a new one.", viewOf(left).Name, viewOf(left).Name)
		return nil
	}
	ch.say("left_room", left.URI.String(), "         you leave %s; another member's device completes it. /join ROOM enters another.", viewOf(left).Name)
	return nil
}
