package node

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/mimid/mimid/node/abuse"
	"github.com/mimid/mimid/node/admin"
	"github.com/mimid/mimid/node/rooms"
	"github.com/mimid/mimid/protocol/clientapi"
	"github.com/mimid/mimid/protocol/room"
)

// operatorAbuse shows reports of abuse to the operator, and does what follows from them.
type operatorAbuse struct {
	q *abuse.Queue
	r *rooms.Rooms
}

// shortText is how much of a message a list shows.
const shortText = 200

func (o operatorAbuse) describe(r *abuse.Report, whole bool) (admin.AbuseReport, error) {
	out := admin.AbuseReport{ID: r.Number, Room: r.Room, RoomID: room.ID(r.RoomID).String(), Abuser: r.Abuser, Times: r.Times, Received: r.Received,
		Outcome: string(r.Outcome), Messages: []admin.AbuseMessage{}}
	if !r.Resolved.IsZero() {
		out.Resolved = &r.Resolved
	}
	for _, m := range r.Messages {
		x := admin.AbuseMessage{ID: m.ID, Text: m.Text, Accepted: m.AcceptedAt, FrankedBy: m.Hub, Content: m.Content}
		if !whole {
			x.Content = nil
			if len(x.Text) > shortText {
				end := shortText
				for end > 0 && !utf8.RuneStart(x.Text[end]) {
					end--
				}
				x.Text = x.Text[:end] + "..."
			}
		}
		out.Messages = append(out.Messages, x)
	}
	if whole {
		for _, v := range r.Voices {
			out.Voices = append(out.Voices, admin.AbuseVoice{Provider: v.Provider, Reporter: v.Reporter, Note: v.Note, At: v.At, Passed: v.Passed})
		}
	}
	u, err := o.r.Whose(r.Room, r.Abuser)
	if err == nil && !u.IsZero() {
		out.User = u.String()
	}
	return out, err
}

// ListReports implements admin.Abuse.
func (o operatorAbuse) ListReports(_ context.Context, after uint64, limit int, all bool) ([]admin.AbuseReport, error) {
	list, err := o.q.List(after, limit, all)
	var out []admin.AbuseReport
	for i := range list {
		r, err := o.describe(&list[i], false)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, err
}

// ShowReport implements admin.Abuse.
func (o operatorAbuse) ShowReport(_ context.Context, id uint64) (*admin.AbuseReport, error) {
	r, err := o.q.Get(id)
	if err != nil {
		return nil, abuseProblem(err)
	}
	out, err := o.describe(r, true)
	return &out, err
}

// ResolveReport implements admin.Abuse. The ban comes first: a crash after it leaves the
// report open, and banning somebody again changes nothing.
func (o operatorAbuse) ResolveReport(ctx context.Context, id uint64, ban bool) (*admin.AbuseReport, error) {
	r, err := o.q.Get(id)
	if err != nil {
		return nil, abuseProblem(err)
	}
	outcome := abuse.Dismissed
	if ban {
		if !r.Resolved.IsZero() {
			return nil, abuseProblem(abuse.ErrResolved)
		}
		if err := o.r.Ban(ctx, room.ID(r.RoomID), r.Abuser); err != nil {
			return nil, err
		}
		outcome = abuse.Banned
	}
	if r, err = o.q.Resolve(ctx, id, outcome); err != nil {
		return nil, abuseProblem(err)
	}
	out, err := o.describe(r, true)
	return &out, err
}

func abuseProblem(err error) error {
	switch {
	case errors.Is(err, abuse.ErrUnknown):
		return &clientapi.Problem{Status: 404, Code: clientapi.CodeNotFound, Detail: "there is no report with this number; mimid abuse list --all shows all that are kept"}
	case errors.Is(err, abuse.ErrResolved):
		return &clientapi.Problem{Status: 409, Code: clientapi.CodeExists, Detail: "the report is resolved already"}
	}
	return err
}
