package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mimid/mimid/client"
)

type clientAttach struct {
	Room    string  `arg:"" help:"Name or URI of the room, or the beginning of its id."`
	File    string  `arg:"" help:"The file." type:"path"`
	Text    string  `help:"What to say with it."`
	Reply   *uint64 `help:"Answer this message with it." placeholder:"NUMBER"`
	Type    string  `help:"Media type of the file; without it, by its name." placeholder:"TYPE"`
	Name    string  `help:"Name of the file for the others, if it is to be another."`
	words   `embed:""`
	lasting `embed:""`
	device  `embed:""`
}

func (c *clientAttach) Help() string {
	return "The file is encrypted here and brought to your provider, and the room gets a message with its key.\nOnce it is encrypted, it goes out by itself the next time that this device runs, such as with\n`mimid client sync`, even if this command is interrupted: do not send it again.\n\nExample:\n  mimid client attach clubhouse holiday.jpg --text \"look at this\"\n  mimid client attach clubhouse plan.pdf --reply 3 --expires 24h"
}

// with is the message that the file goes with: nil for none.
func (c *clientAttach) with(cl *client.Client, room client.RoomURI) (*client.Content, error) {
	w, err := c.words.of(c.Text)
	if err != nil || c.Text == "" && c.Reply == nil && c.Expires == 0 {
		return nil, err
	}
	m := w.Say()
	if c.Reply != nil {
		if m, err = cl.About(room, *c.Reply, w.Answer()); err != nil {
			return nil, err
		}
	}
	return c.lasting.of(m, time.Now())
}

func (c *clientAttach) Run(s *session) error {
	if c.Text != "" {
		if err := messageText(c.Text); err != nil {
			return err
		}
	} else if c.Markdown {
		return usageError("--markdown is about what --text says: give both")
	}
	if err := c.lasting.check(); err != nil {
		return err
	}
	return c.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error {
		if err := c.catchUp(ctx, s, cl); err != nil {
			return err
		}
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		with, err := c.with(cl, r.URI)
		if err != nil {
			return err
		}
		p := &transfer{s: s, what: "sent"}
		index, err := attachFile(ctx, cl, r.URI, c.File, client.Outgoing{Name: c.Name, MediaType: c.Type, With: with, Progress: p.tell})
		p.end()
		if err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, c.Timeout)
		defer cancel()
		m, late := awaitSent(wait, cl, r, index)
		if late != nil && m.State == client.StateQueued {
			late = fmt.Errorf("the file is at your provider, and the message goes out the next time that this device runs, do not send it again: %w", late)
		} else {
			late = nil
		}
		err = s.out.result(messageView(m), func(w io.Writer) { fmt.Fprintf(w, "%d %s\n", index, m.State) })
		switch {
		case err != nil || late != nil:
			return errors.Join(err, late)
		case m.State == client.StateFailed:
			return exitCode(4)
		}
		return nil
	})
}

// catchUp is Sync within the device's patience; without a connection it says so.
func (d *device) catchUp(ctx context.Context, s *session, cl *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	err := cl.Sync(ctx)
	if err != nil && s.ctx.Err() == nil && codeOf(err) == 3 {
		fmt.Fprintf(s.errw, "mimid: offline: %v\n", err)
		return nil
	}
	return err
}

// failedFiles says which files of an earlier command did not go out, and never will.
func failedFiles(cl *client.Client) (err error) {
	for {
		select {
		case n := <-cl.Events():
			if f, ok := n.(client.AttachFailed); ok {
				err = errors.Join(err, fmt.Errorf("%s was not sent: %w", f.Name, f.Err))
			}
		default:
			return err
		}
	}
}

// attachFile attaches a file by its path.
func attachFile(ctx context.Context, cl *client.Client, room client.RoomURI, path string, o client.Outgoing) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("reading the file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("reading the file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is no file that can be sent: it is a directory or a device", path)
	}
	if o.Name == "" {
		o.Name = filepath.Base(path)
	}
	if o.MediaType == "" {
		o.MediaType = mime.TypeByExtension(strings.ToLower(filepath.Ext(o.Name)))
	}
	o.Content, o.Size = f, info.Size()
	return cl.Attach(ctx, room, o)
}

type clientFetch struct {
	onMessage `embed:""`
	Out       string `help:"Where to save it: a file, which must not be there, or a folder. Without it, the sender's name for it in this folder." type:"path" placeholder:"PATH"`
	Number    int    `help:"Which of the message's files." default:"1"`
	Limit     int64  `help:"The largest file that is fetched, in MiB." default:"1024"`
	Oblivious bool   `help:"Fetch it so that your provider does not learn what you fetch, nor the room's hub that it is you (oblivious HTTP)."`
	device    `embed:""`
}

func (c *clientFetch) Help() string {
	return "What was fetched is kept if this is interrupted, and the next time goes on from there. Nothing is saved before\nit has been found to be what the sender encrypted. A file that is there already is never overwritten.\n\nExample:\n  mimid client fetch clubhouse 12\n  mimid client fetch clubhouse 12 --out holiday.jpg\n  mimid client fetch clubhouse 12 --oblivious"
}

func (c *clientFetch) Run(s *session) error {
	if c.Limit < 1 || c.Limit > 1<<16 || c.Number < 1 {
		return usageError("--limit is 1 to 65536 MiB, and --number 1 at least")
	}
	return c.run(s, s.ctx, func(ctx context.Context, cl *client.Client) error {
		if err := c.catchUp(ctx, s, cl); err != nil {
			return err
		}
		r, err := cl.FindRoom(ctx, c.Room)
		if err != nil {
			return err
		}
		p := &transfer{s: s, what: "fetched"}
		path, a, err := fetchFile(ctx, cl, client.Fetch{Room: r.URI, Index: c.Message, Part: c.Number - 1, Limit: c.Limit << 20, Oblivious: c.Oblivious, Progress: p.tell}, c.Out)
		p.end()
		if err != nil {
			return err
		}
		return s.out.result(map[string]any{"file": path, "size": a.Size, "type": a.MediaType}, func(w io.Writer) {
			fmt.Fprintf(w, "%s (%s)\n", path, size(a.Size))
		})
	})
}

// fetchFile fetches an attachment into a file, which gets its name when it is whole.
func fetchFile(ctx context.Context, cl *client.Client, q client.Fetch, out string) (path string, a *client.Attachment, err error) {
	list, err := cl.Messages(q.Room, q.Index, 1)
	if err != nil {
		return "", nil, err
	}
	if len(list) == 1 && list[0].Index == q.Index {
		if all := client.Attachments(list[0].Content); q.Part < len(all) {
			path = all[q.Part].Name
		}
	}
	if path == "" {
		path = "attachment" // there is none, which FetchAttachment says
	}
	if out != "" {
		if info, err := os.Stat(out); err == nil && info.IsDir() {
			path = filepath.Join(out, path)
		} else {
			path = out
		}
	}
	if _, err := os.Lstat(path); err == nil {
		return "", nil, fmt.Errorf("there is a file %s already: name another with --out", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".mimid-*")
	if err != nil {
		return "", nil, fmt.Errorf("saving the file: %w", err)
	}
	defer func() {
		f.Close() // a second close is harmless
		_ = os.Remove(f.Name())
	}()
	if a, err = cl.FetchAttachment(ctx, q, f); err != nil {
		return "", nil, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", nil, fmt.Errorf("saving the file: %w", err)
	}
	// A link does not overwrite what came there meanwhile.
	if err := os.Link(f.Name(), path); err != nil {
		return "", nil, fmt.Errorf("saving the file: %w", err)
	}
	return path, a, nil
}

// size shows octets for people.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return plural(int(n), "octet")
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// transfer shows how far something is, now and then, on standard error.
type transfer struct {
	s    *session
	what string

	mu    sync.Mutex
	last  time.Time // guarded by mu
	shown bool      // guarded by mu
}

func (p *transfer) tell(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s.out.json || total < 1<<20 || time.Since(p.last) < time.Second && done < total {
		return
	}
	p.last, p.shown = time.Now(), true
	fmt.Fprintf(p.s.errw, "\r%s %s of %s (%d %%) ", p.what, size(done), size(total), 100*done/max(total, 1))
}

func (p *transfer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprintln(p.s.errw)
	}
}

type clientFiles struct {
	Delete string `help:"Delete the file of this hash, or the beginning of it: nobody can fetch it any more." placeholder:"HASH"`
	device `embed:""`
}

func (c *clientFiles) Help() string {
	return "Your provider knows files by the hash of what is encrypted, and nothing else of them.\n\nExample:\n  mimid client files\n  mimid client files --delete 5e1d0c"
}

func (c *clientFiles) Run(s *session) error {
	return c.with(s, asIs, func(ctx context.Context, cl *client.Client) error {
		list, err := cl.Files(ctx)
		if err != nil {
			return err
		}
		if c.Delete != "" {
			hash, err := oneFile(list, c.Delete)
			if err != nil {
				return err
			}
			if err := cl.DeleteFile(ctx, hash); err != nil {
				return err
			}
			return s.out.result(map[string]string{"deleted": hash}, func(w io.Writer) { fmt.Fprintf(w, "%s is deleted.\n", hash) })
		}
		return s.out.result(list, func(w io.Writer) {
			table(w, "HASH\tSIZE\tSTATE\tUNTIL", func(w io.Writer) {
				for _, a := range list.Assets {
					state, until := "complete", "-"
					if !a.Complete {
						state = fmt.Sprintf("%s of it is there", size(a.Offset))
					}
					if a.Expires > 0 {
						until = time.UnixMilli(a.Expires).Local().Format(time.DateOnly)
					}
					fmt.Fprintf(w, "%.16s\t%s\t%s\t%s\n", a.Hash, size(a.Size), state, until)
				}
			})
			fmt.Fprintf(w, "%s of %s used; one file may have %s\n", size(list.Used), size(list.Quota), size(list.Most))
		})
	})
}

func oneFile(list *client.Files, prefix string) (string, error) {
	var found []string
	for _, a := range list.Assets {
		if strings.HasPrefix(a.Hash, strings.ToLower(prefix)) {
			found = append(found, a.Hash)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("you keep no file whose hash begins with %.80q", prefix)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("the hashes of %d files begin with %.80q: write more of it", len(found), prefix)
}

// file obeys a line that brings or fetches a file, which takes its time: the chat goes on.
// ok says that it was one.
func (ch *chat) file(ctx context.Context, line string) (ok bool, err error) {
	command, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	if command != "/attach" && command != "/fetch" || arg == "" || ch.room.URI.IsZero() {
		return false, nil // what is missing, obey says
	}
	room := ch.room.URI
	if command == "/attach" {
		path, text, _ := strings.Cut(arg, " -- ")
		var with *client.Content
		if text = strings.TrimSpace(text); text != "" {
			if err := messageText(text); err != nil {
				return true, err
			}
			with = client.Words{Text: text}.Say()
		}
		ch.aside(ctx, func(ctx context.Context) (func(), error) {
			_, err := attachFile(ctx, ch.c, room, strings.TrimSpace(path), client.Outgoing{With: with})
			return ch.show, err
		})
		return true, nil
	}
	number, path, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return true, fmt.Errorf("%.40q is no number of a message: each has one before its time", number)
	}
	ch.aside(ctx, func(ctx context.Context) (func(), error) {
		path, a, err := fetchFile(ctx, ch.c, client.Fetch{Room: room, Index: n}, strings.TrimSpace(path))
		return func() { ch.say("file", path, "         saved as %s (%s)", path, size(a.Size)) }, err
	})
	return true, nil
}

// aside runs what takes long, and then what it returns in the chat's goroutine.
func (ch *chat) aside(ctx context.Context, do func(ctx context.Context) (func(), error)) {
	ch.files.Go(func() {
		then, err := do(ctx)
		if errors.Is(err, client.ErrPending) {
			err = nil // it goes on, and the chat ends
			then = func() {}
		}
		if err != nil {
			then = func() { ch.complain(err) }
		}
		select {
		case ch.later <- then:
		case <-ctx.Done():
		}
	})
}
