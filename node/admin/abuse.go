package admin

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// Reports of abuse in the rooms that this provider orders.

// AbuseReport is about one user in one room.
type AbuseReport struct {
	ID     uint64 `json:"id"`
	Room   string `json:"room"`
	RoomID string `json:"room_id"`
	Abuser string `json:"abuser"`
	// User is which user of this provider goes by the pseudonym Abuser.
	User string `json:"user,omitempty"`
	// Times is how often it was reported, Received when for the first time.
	Times    int       `json:"times"`
	Received time.Time `json:"received"`
	// Messages are verified: the user sent them. Of a list they have no content.
	Messages []AbuseMessage `json:"messages"`
	// Voices are who reported it, the first ones; in the answer for one report.
	Voices   []AbuseVoice `json:"voices,omitempty"`
	Resolved *time.Time   `json:"resolved,omitempty"`
	Outcome  string       `json:"outcome,omitempty"` // dismissed, banned
}

// AbuseMessage is a reported message.
type AbuseMessage struct {
	ID       string    `json:"id"`
	Text     string    `json:"text"`
	Accepted time.Time `json:"accepted"`
	// FrankedBy is the hub whose frank shows that the user sent it.
	FrankedBy string `json:"franked_by"`
	Content   []byte `json:"content,omitempty"` // application/mimi-content
}

// AbuseVoice is somebody who reported it.
type AbuseVoice struct {
	Provider string    `json:"provider"`
	Reporter string    `json:"reporter,omitempty"` // empty: they did not say
	Note     string    `json:"note,omitempty"`
	At       time.Time `json:"at"`
	// Passed: Provider, the room's hub, has passed it on, as the accused is a user of this one.
	Passed bool `json:"passed,omitempty"`
}

// AbuseList is a page of reports, the oldest first. Next, if not zero, is what to ask for
// after.
type AbuseList struct {
	Reports []AbuseReport `json:"reports"`
	Next    uint64        `json:"next,omitempty"`
}

// ResolveAbuse says what becomes of a report.
type ResolveAbuse struct {
	// Ban has the user banned from the room: this provider, which orders it, takes nothing
	// of the user any more and proposes the ban, and the next member that can commits it.
	Ban bool `json:"ban,omitempty"`
}

// Abuse knows the reports.
type Abuse interface {
	ListReports(ctx context.Context, after uint64, limit int, all bool) ([]AbuseReport, error)
	ShowReport(ctx context.Context, id uint64) (*AbuseReport, error)
	ResolveReport(ctx context.Context, id uint64, ban bool) (*AbuseReport, error)
}

// maxReports is how many reports one answer lists: each can hold long texts.
const maxReports = 100

func (s *Server) reports(req *http.Request) (any, error) {
	n, err := number(req, "limit", maxReports, 1, maxReports)
	if err != nil {
		return nil, err
	}
	after, err := number(req, "after", 0, 0, 1<<63)
	if err != nil {
		return nil, err
	}
	list, err := s.cfg.Services.Abuse.ListReports(req.Context(), after, int(n), req.URL.Query().Get("all") == "true")
	if err != nil {
		return nil, err
	}
	out := &AbuseList{Reports: append([]AbuseReport{}, list...)}
	if len(list) == int(n) {
		out.Next = list[len(list)-1].ID
	}
	return out, nil
}

func reportNumber(req *http.Request) (uint64, error) {
	n, err := strconv.ParseUint(req.PathValue("id"), 10, 63)
	if err != nil {
		return 0, invalid("%.40q is no number of a report", req.PathValue("id"))
	}
	return n, nil
}

func (s *Server) report(req *http.Request) (any, error) {
	n, err := reportNumber(req)
	if err != nil {
		return nil, err
	}
	return s.cfg.Services.Abuse.ShowReport(req.Context(), n)
}

func (s *Server) resolve(req *http.Request) (any, error) {
	n, err := reportNumber(req)
	if err != nil {
		return nil, err
	}
	var r ResolveAbuse
	if err := read(req, &r); err != nil {
		return nil, err
	}
	return s.cfg.Services.Abuse.ResolveReport(req.Context(), n, r.Ban)
}

// Reports lists reports of abuse, those that are resolved only if all are wanted.
func (c *Client) Reports(ctx context.Context, after uint64, all bool) (*AbuseList, error) {
	path := query("/reports", "after", strconv.FormatUint(after, 10), "all", map[bool]string{true: "true"}[all])
	return get[AbuseList](ctx, c, "GET", path, nil)
}

// Report returns one of them whole.
func (c *Client) Report(ctx context.Context, id uint64) (*AbuseReport, error) {
	return get[AbuseReport](ctx, c, "GET", "/reports/"+strconv.FormatUint(id, 10), nil)
}

// ResolveReport ends one.
func (c *Client) ResolveReport(ctx context.Context, id uint64, r ResolveAbuse) (*AbuseReport, error) {
	return get[AbuseReport](ctx, c, "POST", "/reports/"+strconv.FormatUint(id, 10)+"/resolve", r)
}
