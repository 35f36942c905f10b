package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mimid/mimid/client"
	"github.com/mimid/mimid/node/admin"
)

// life shows what goes on in a room besides talk: an answer, an edit and a reaction,
// somebody who is banned, and a report of abuse.
func (d *demo) life() error {
	room, err := d.alice.c.CreateRoom(d.ctx, "lounge")
	if err != nil {
		return err
	}
	for _, p := range []*person{d.bob, d.carol} {
		if err := p.c.Accept(d.ctx, d.alice.c.User()); err != nil {
			return err
		}
		err := d.eventually(func() (bool, error) {
			err := d.alice.c.AddUser(d.ctx, room, p.c.User())
			if errors.Is(err, client.ErrNoConsent) {
				return false, nil // it is on its way to her provider
			}
			return err == nil, err
		})
		if err != nil {
			return err
		}
		if err := d.eventually(func() (bool, error) { return p.isIn(d.ctx, room), nil }); err != nil {
			return err
		}
	}
	if _, err := d.alice.c.Send(d.ctx, room, "lunch at noon?"); err != nil {
		return err
	}
	start := time.Now()
	seen := func(p *person, what string, fits func(s client.Said) bool) error {
		err := d.eventually(func() (bool, error) {
			all, err := p.c.Conversation(room)
			return slices.ContainsFunc(all, fits), err
		})
		if err != nil {
			return fmt.Errorf("%s waits for %s: %w", p.name, what, err)
		}
		return nil
	}
	if err := seen(d.bob, "a question", func(s client.Said) bool { return s.Text == "lunch at noon?" }); err != nil {
		return err
	}
	about := func(p *person, compose client.Composer) error {
		all, err := p.c.Conversation(room)
		if err != nil {
			return err
		}
		m, err := p.c.About(room, all[0].Index, compose)
		if err != nil {
			return err
		}
		_, err = p.c.SendContent(d.ctx, room, m)
		return err
	}
	if err := about(d.bob, client.Reacting("👍")); err != nil {
		return err
	}
	if err := about(d.alice, client.Editing("lunch at one?")); err != nil {
		return err
	}
	both := func(s client.Said) bool { return s.Edited && s.Text == "lunch at one?" && len(s.Reactions) == 1 }
	err = nil
	for _, p := range []*person{d.alice, d.bob, d.carol} {
		if err == nil {
			err = seen(p, "an edit and a reaction", both)
		}
	}
	d.report.check("an edit and a reaction are seen by all", err == nil, "\"lunch at one?\" (edited), 👍 by bob; %s", ms(time.Since(start)))

	start = time.Now()
	if err := d.bob.c.Ban(d.ctx, room, d.carol.c.User()); err == nil || !client.Refused(err) {
		return fmt.Errorf("bob, a member, bans carol: %v", err)
	} else {
		d.report.say("bob, a member, may not ban carol: %s", last(err.Error()))
	}
	if err := d.alice.c.Ban(d.ctx, room, d.carol.c.User()); err != nil {
		return err
	}
	if _, err := d.alice.c.Send(d.ctx, room, "without carol"); err != nil {
		return err
	}
	if err := seen(d.bob, "what is said after the ban", func(s client.Said) bool { return s.Text == "without carol" }); err != nil {
		return err
	}
	why := ""
	err = d.eventually(func() (bool, error) {
		r, err := d.carol.c.FindRoom(d.ctx, room.String())
		why = r.Reason
		return r.State != "joined", err
	})
	if err != nil {
		return err
	}
	if err := d.carol.c.Sync(d.ctx); err != nil {
		return err
	}
	all, err := d.carol.c.Conversation(room)
	read := slices.ContainsFunc(all, func(s client.Said) bool { return s.Text == "without carol" })
	d.report.check("who is banned is told, and reads nothing more", err == nil && !read && why != "", "carol is %q; %s", why, ms(time.Since(start)))
	err = d.alice.c.AddUser(d.ctx, room, d.carol.c.User())
	d.report.check("nobody adds a banned user", err != nil && client.Refused(err), "%v", err)
	return d.abuse(room)
}

// abuse: alice reports what bob says, and the operator of the room's hub has him banned.
func (d *demo) abuse(room client.RoomURI) error {
	if _, err := d.bob.c.Send(d.ctx, room, "you fool"); err != nil {
		return err
	}
	start := time.Now()
	var said []client.Said
	err := d.eventually(func() (bool, error) {
		all, err := d.alice.c.Conversation(room)
		said = slices.DeleteFunc(all, func(s client.Said) bool { return s.Text != "you fool" })
		return len(said) > 0, err
	})
	if err != nil {
		return err
	}
	hub, err := d.alice.c.Report(d.ctx, room, client.Report{Messages: []uint64{said[0].Index}, Note: "insults me"})
	if err != nil {
		return err
	}
	a, err := admin.Dial(d.ctx, d.atlanta.dir)
	if err != nil {
		return err
	}
	defer a.Close()
	list, err := a.Reports(d.ctx, 0, false)
	if err != nil {
		return err
	}
	good := hub == d.atlanta.domain && len(list.Reports) == 1 && list.Reports[0].Abuser == d.bob.c.User().String() && list.Reports[0].Messages[0].Text == "you fool"
	d.report.check("a report of abuse shows the hub's operator what was said, with the proof", good, "bob said \"you fool\", franked by %s", hub)
	if !good {
		return fmt.Errorf("reports: %+v", list.Reports)
	}
	if _, err := a.ResolveReport(d.ctx, list.Reports[0].ID, admin.ResolveAbuse{Ban: true}); err != nil {
		return err
	}
	why := ""
	err = d.eventually(func() (bool, error) {
		r, err := d.bob.c.FindRoom(d.ctx, room.String())
		why = r.Reason
		return r.State != "joined", err
	})
	d.report.check("the operator has him banned", err == nil && why != "", "bob is %q, alice's device has committed it; %s", why, ms(time.Since(start)))
	return err
}

// isIn says whether a person's device is in a room.
func (p *person) isIn(ctx context.Context, room client.RoomURI) bool {
	r, err := p.c.FindRoom(ctx, room.String())
	return err == nil && r.State == "joined"
}
