package knock_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mimid/mimid/protocol/knock"
)

var start = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// at is a time some hours after the start.
func at(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }

func ask(hours int) knock.Event    { return knock.Event{What: knock.Ask, Issued: at(hours)} }
func cancel(hours int) knock.Event { return knock.Event{What: knock.Cancel, Issued: at(hours)} }

var (
	refuse = knock.Event{What: knock.Refuse}
	look   = knock.Event{What: knock.Look}
)

// The races that users can have, as stories: what happens, one after the other, and what
// follows from each.
func TestStories(t *testing.T) {
	type step struct {
		hour  int
		place knock.Place
		e     knock.Event
		state knock.State
		do    knock.Effects
		reply knock.Answer
		err   error
	}
	show, gone := knock.Effects{Show: true}, knock.Effects{Withdraw: true}
	refused, in := knock.Effects{Withdraw: true, Tell: knock.IsRefused}, knock.Effects{Withdraw: true, Tell: knock.IsInside}
	nothing := knock.Effects{}
	const week, fortnight = 7 * 24, 14 * 24
	for name, story := range map[string][]step{
		"asked, refused, asked again at once and a week later": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Outside, refuse, knock.Refused, refused, knock.Silence, nil},
			{2, knock.Outside, ask(2), knock.Refused, nothing, knock.IsRefused, nil},
			{week + 2, knock.Outside, ask(week + 2), knock.Waiting, show, knock.IsWaiting, nil},
		},
		"two refuse at once: the second is told that nobody waits": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Outside, refuse, knock.Refused, refused, knock.Silence, nil},
			{1, knock.Outside, refuse, knock.Refused, nothing, knock.Silence, knock.ErrNobody},
		},
		"added and refused at once: the log is above": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Inside, refuse, knock.None, in, knock.Silence, knock.ErrNobody},
		},
		"refused and added at once": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Outside, refuse, knock.Refused, refused, knock.Silence, nil},
			{1, knock.Inside, look, knock.None, nothing, knock.Silence, nil},
		},
		"added and cancelled at once: inside": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Inside, cancel(1), knock.None, knock.Effects{Withdraw: true}, knock.IsInside, nil},
		},
		"cancelled and refused at once": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Outside, cancel(1), knock.Cancelled, gone, knock.IsCancelled, nil},
			{1, knock.Outside, refuse, knock.Cancelled, nothing, knock.Silence, knock.ErrNobody},
		},
		"refused and cancelled at once": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Outside, refuse, knock.Refused, refused, knock.Silence, nil},
			{1, knock.Outside, cancel(1), knock.Refused, nothing, knock.IsRefused, nil},
		},
		"the cancel overtakes the ask": {
			{1, knock.Outside, cancel(1), knock.Cancelled, nothing, knock.IsCancelled, nil},
			{2, knock.Outside, ask(0), knock.Cancelled, nothing, knock.IsCancelled, nil},
			{3, knock.Outside, ask(3), knock.Waiting, show, knock.IsWaiting, nil},
		},
		"said again and again, shown once": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Outside, ask(0), knock.Waiting, nothing, knock.IsWaiting, nil},
			{2, knock.Outside, ask(2), knock.Waiting, nothing, knock.IsWaiting, nil},
		},
		"asked anew after more than a week: shown anew": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{week, knock.Outside, ask(week), knock.Waiting, nothing, knock.IsWaiting, nil},
			{week + 1, knock.Outside, ask(week + 1), knock.Waiting, show, knock.IsWaiting, nil},
			{3 * week, knock.Outside, ask(3 * week), knock.Waiting, show, knock.IsWaiting, nil},
		},
		"asked once more and forgotten: brought by her provider until her word is too old": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{48, knock.Outside, ask(48), knock.Waiting, nothing, knock.IsWaiting, nil},
			{fortnight + 1, knock.Outside, ask(48), knock.Waiting, show, knock.IsWaiting, nil},
			{fortnight + 49, knock.Outside, look, knock.None, gone, knock.Silence, nil},
		},
		"already in": {
			{0, knock.Inside, ask(0), knock.None, nothing, knock.IsInside, nil},
		},
		"banned: refused, and nobody is told": {
			{0, knock.Banned, ask(0), knock.None, nothing, knock.IsRefused, nil},
		},
		"banned while waiting": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Banned, look, knock.Refused, refused, knock.Silence, nil},
			{2, knock.Banned, ask(2), knock.Refused, nothing, knock.IsRefused, nil},
		},
		"banned when asking again: told in the reply only": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Banned, ask(1), knock.Refused, gone, knock.IsRefused, nil},
		},
		"the room lets nobody knock": {
			{0, knock.Closed, ask(0), knock.None, nothing, knock.IsClosed, nil},
		},
		"the room stops letting people knock": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{1, knock.Closed, look, knock.Refused, refused, knock.Silence, nil},
		},
		"nobody answers for two weeks": {
			{0, knock.Outside, ask(0), knock.Waiting, show, knock.IsWaiting, nil},
			{fortnight, knock.Outside, look, knock.Waiting, nothing, knock.Silence, nil},
			{fortnight + 1, knock.Outside, look, knock.None, gone, knock.Silence, nil},
			{fortnight + 1, knock.Outside, ask(0), knock.None, nothing, knock.IsTooOld, nil},
		},
		"a cancel is forgotten when no older word can come any more": {
			{1, knock.Outside, cancel(1), knock.Cancelled, nothing, knock.IsCancelled, nil},
			{fortnight + 2, knock.Outside, look, knock.None, nothing, knock.Silence, nil},
		},
		"a refusal of nobody": {
			{0, knock.Outside, refuse, knock.None, nothing, knock.Silence, knock.ErrNobody},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r knock.Record
			for i, s := range story {
				next, do, reply, err := knock.Step(r, s.place, s.e, at(s.hour))
				if next.State != s.state || do != s.do || reply != s.reply || !errors.Is(err, s.err) {
					t.Errorf("step %d: %s, %+v, %s, %v", i, next.State, do, reply, err)
				}
				r = next
			}
		})
	}
	for _, bad := range []struct {
		r knock.Record
		p knock.Place
		e knock.Event
	}{{r: knock.Record{State: 9}, e: look}, {p: 9, e: look}, {e: knock.Event{What: 9}}, {}} {
		if _, _, _, err := knock.Step(bad.r, bad.p, bad.e, start); !errors.Is(err, knock.ErrStored) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// model is what the members and the user's provider know, by what they were told.
type model struct {
	refused time.Time // zero: not, or not any more
	shown   bool      // members see the knock
	told    knock.Answer
}

// Whatever comes in whatever order: members see a knock exactly while its user waits; the
// user's provider has heard the truth at the end; nobody is shown a user who is inside,
// banned, or was refused within Quiet; and an older word never undoes a newer one.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r knock.Record
		var m model
		now := start
		place := knock.Outside
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 60, 24 * 60, 8 * 24 * 60}).Draw(t, "minutes")) * time.Minute)
			if rapid.IntRange(0, 5).Draw(t, "moves") == 0 {
				place = knock.Place(rapid.IntRange(0, 3).Draw(t, "place"))
			}
			e := knock.Event{What: knock.What(rapid.IntRange(1, 4).Draw(t, "what"))}
			if e.What <= knock.Cancel {
				e.Issued = now.Add(-time.Duration(rapid.SampledFrom([]int{0, 0, 1, 90, 20 * 24 * 60}).Draw(t, "age")) * time.Minute)
			}
			before := r
			next, do, reply, err := knock.Step(r, place, e, now)
			r = next
			if do.Show && do.Withdraw {
				t.Fatal("shown and withdrawn at once")
			}
			if do.Show {
				if m.shown && now.Sub(before.Since) <= knock.Quiet {
					t.Fatal("shown twice")
				}
				m.shown = true
			}
			if do.Withdraw {
				if !m.shown {
					t.Fatal("withdrawn and not shown")
				}
				m.shown = false
			}
			// What the user's provider knows after this.
			for _, a := range []knock.Answer{do.Tell, reply} {
				if a != knock.Silence {
					m.told = a
				}
			}
			if m.shown != (r.State == knock.Waiting) {
				t.Fatalf("shown %t in state %s", m.shown, r.State)
			}
			if m.shown && (place != knock.Outside || now.Sub(r.Issued) > knock.Lifetime) {
				t.Fatalf("shown in place %d after %s", place, now.Sub(r.Issued))
			}
			if do.Show && !m.refused.IsZero() && now.Sub(m.refused) <= knock.Quiet {
				t.Fatalf("shown %s after a refusal", now.Sub(m.refused))
			}
			switch {
			case r.State == knock.Refused && before.State == knock.Waiting:
				m.refused = now
			case r.State != knock.Refused && (place == knock.Inside || now.Sub(m.refused) > knock.Quiet):
				m.refused = time.Time{}
			}
			// An older word changes nothing while a newer one counts.
			if e.What <= knock.Cancel && before.State == knock.Cancelled && r.State == knock.Waiting && !e.Issued.After(before.Issued) {
				t.Fatal("an older ask undoes a newer cancel")
			}
			over := now.Sub(before.Issued) > knock.Lifetime || now.Sub(before.Since) > knock.Lifetime
			waits := before.State == knock.Waiting && place == knock.Outside && !over
			if e.What == knock.Refuse && ((err == nil) != waits || waits && (r.State != knock.Refused || do.Tell != knock.IsRefused)) {
				t.Fatalf("a refusal in state %s: %v", before.State, err)
			}
			// What was told is so: a provider that believes its user waits, waits, unless
			// only time has passed, which it counts itself.
			if m.told == knock.IsWaiting && r.State != knock.Waiting && before.State == knock.Waiting && !over {
				t.Fatalf("the user believes to wait in state %s", r.State)
			}
			if r.State == knock.None && r != (knock.Record{}) {
				t.Fatalf("none with %+v", r)
			}
		}
	})
}
