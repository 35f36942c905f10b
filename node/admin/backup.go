package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// The answer to POST /backup is the backup itself, application/octet-stream, and behind it
// one of two trailers, each one line of JSON: Mimid-Backup (a Backup) if it is whole, or
// Mimid-Error (a string). If neither is there the node has gone in the middle. What fails
// before the first byte is refused as any other call.
const (
	trailerDone  = "Mimid-Backup"
	trailerError = "Mimid-Error"
)

// backupStream notes whether the answer has begun.
type backupStream struct {
	w     http.ResponseWriter
	begun bool
}

func (b *backupStream) Write(p []byte) (int, error) {
	if !b.begun {
		b.begun = true
		h := b.w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Trailer", trailerDone+", "+trailerError)
	}
	return b.w.Write(p)
}

func (s *Server) backup(w http.ResponseWriter, req *http.Request) {
	begin := time.Now()
	to := &backupStream{w: w}
	out, err := s.guarded(req, func(req *http.Request) (any, error) {
		return s.cfg.Services.Node.Backup(req.Context(), to)
	})
	s.cfg.Log.Info("operator's command", "call", req.Pattern, "took", time.Since(begin), "error", err)
	switch {
	case err != nil && !to.begun:
		refuse(w, err)
	case err != nil:
		b, _ := json.Marshal(err.Error())
		w.Header().Set(trailerError, string(b))
	default:
		b, err := json.Marshal(out)
		if err != nil {
			panic("admin: " + err.Error()) // numbers and texts
		}
		w.Header().Set(trailerDone, string(b))
	}
}

// Backup has the node write a backup to w. After an error w holds something that nobody
// can restore.
func (c *Client) Backup(ctx context.Context, w io.Writer) (*Backup, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://admin/backup", nil)
	if err != nil {
		return nil, fmt.Errorf("making request: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("asking the node: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
		if err != nil {
			return nil, fmt.Errorf("reading the node's answer: %w", err)
		}
		return nil, refusal(res, b)
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		return nil, fmt.Errorf("copying the backup: %w", err)
	}
	if said := res.Trailer.Get(trailerError); said != "" {
		var text string
		if json.Unmarshal([]byte(said), &text) != nil {
			text = said
		}
		return nil, fmt.Errorf("%w: %s", ErrBackup, text)
	}
	out := new(Backup)
	if err := json.Unmarshal([]byte(res.Trailer.Get(trailerDone)), out); err != nil {
		return nil, fmt.Errorf("%w: it ended without a result: %w", ErrBackup, err)
	}
	return out, nil
}
