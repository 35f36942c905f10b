package content

import (
	"slices"
	"strings"
)

// Shown is what a reader is to see of a message after everything that was said about it.
type Shown struct {
	ID MessageID
	// Number is the caller's name for it.
	Number uint64
	Sender string
	// Message is the last version. Of one that was taken back it is the first, with no
	// content.
	Message *Message
	Edited  bool
	Deleted bool
	// Reactions are in the order in which they came, of each sender each once.
	Reactions []Reacted
	all       []Reacted // of each message that reacts
	// Statuses are what others have reported of any version of it, in order of their URIs.
	Statuses []Reported
}

// Reported is what a user has reported of a message.
type Reported struct {
	Sender string
	Status StatusSet
}

// Reacted is one reaction of one user.
type Reacted struct {
	Sender   string
	Reaction string
	by       MessageID // the message that reacts
}

// Fold makes of messages in the order of the log what a reader is to see: answers and what
// is said for itself are shown, edits, deletions and reactions change what they are about.
//
// What a message may be about, Fold takes as follows. Which version is named makes no
// difference: section 5.5 has edits name the first, and what names a later one means the
// same message. A message that changes one that is not here waits for it, since nothing
// says that they come in order (section 4.1); then it counts if both have one sender. A
// message that was here first may have been judged by the room's policy, so whoever
// deletes it is believed; an edit by another never is. What was taken back stays so.
//
// The caller has discarded what its sender may not send, and ids that were there before.
// The zero value is ready; one goroutine owns it.
type Fold struct {
	list    []*Shown
	about   map[MessageID]*Shown    // by the id of any version
	reacts  map[MessageID]MessageID // reaction -> what it is about, first or not
	waiting map[MessageID][]change  // by the id of what is not here
	said    map[MessageID][]Reported
	also    map[MessageID]MessageID // another id of a message -> the one it was added by
	kept    int
}

// maxWaiting bounds how many changes may wait for messages that never come.
const maxWaiting = 4096

type change struct {
	id     MessageID
	sender string
	m      *Message
}

// Add takes the next message; number is the caller's name for it.
func (f *Fold) Add(id MessageID, number uint64, sender string, m *Message) {
	if f.about == nil {
		f.about, f.reacts, f.waiting = map[MessageID]*Shown{}, map[MessageID]MessageID{}, map[MessageID][]change{}
	}
	c := change{id, sender, m}
	switch m.Action() {
	case ActionSay, ActionReply:
		s := &Shown{ID: id, Number: number, Sender: sender, Message: m}
		f.list = append(f.list, s)
		f.know(id, s)
		return
	case ActionReact:
		to := f.named(*m.InReplyTo)
		f.reacts[id] = to
		if s := f.about[to]; s != nil {
			s.react(c)
		} else {
			f.wait(to, c)
		}
		f.released(id)
		return
	}
	f.change(c, false)
}

// change applies an edit or deletion; late: what it is about came after it.
func (f *Fold) change(c change, late bool) {
	target := f.named(*c.m.Replaces)
	if about, ok := f.reacts[target]; ok {
		if s := f.about[about]; s != nil {
			s.rereact(target, c, late)
		} else {
			f.wait(about, c) // behind the reaction, which waits for the same
		}
		return
	}
	s := f.about[target]
	if s == nil {
		f.wait(target, c)
		return
	}
	own := s.Sender == c.sender
	if _, empty := c.m.Body.Content.(NullPart); empty {
		if own || !late {
			s.Deleted, s.Edited = true, false
			gone := *s.Message
			gone.Body = Part{Disposition: Render, Content: NullPart{}}
			s.Message, s.Reactions, s.all = &gone, nil, nil
		}
	} else if own && !s.Deleted {
		said := *s.Message
		said.Body = c.m.Body // an edit changes nothing else (section 9.3)
		s.Message, s.Edited = &said, true
	}
	if own {
		f.know(c.id, s)
	}
}

func (f *Fold) wait(id MessageID, c change) {
	if f.kept < maxWaiting {
		f.kept++
		f.waiting[id] = append(f.waiting[id], c)
	}
}

// AddStatus takes what a user has reported of a message; one that is not here is waited for.
// A sender's reports of its own messages say nothing.
func (f *Fold) AddStatus(id MessageID, sender string, status StatusSet) {
	if status == 0 {
		return
	}
	id = f.named(id)
	if s := f.about[id]; s != nil {
		s.report(sender, status)
		return
	}
	if f.said == nil {
		f.said = map[MessageID][]Reported{}
	}
	if f.kept < maxWaiting {
		f.kept++
		f.said[id] = append(f.said[id], Reported{sender, status})
	}
}

func (s *Shown) report(sender string, status StatusSet) {
	if sender == s.Sender {
		return
	}
	at, found := slices.BinarySearchFunc(s.Statuses, sender, func(r Reported, who string) int { return strings.Compare(r.Sender, who) })
	if !found {
		s.Statuses = slices.Insert(s.Statuses, at, Reported{Sender: sender})
	}
	s.Statuses[at].Status |= status
}

// know notes that an id names a version of a message, and does what waited for it.
func (f *Fold) know(id MessageID, s *Shown) {
	f.about[id] = s
	for _, r := range f.said[id] {
		f.kept--
		s.report(r.Sender, r.Status)
	}
	delete(f.said, id)
	f.released(id)
}

func (f *Fold) released(id MessageID) {
	list := f.waiting[id]
	delete(f.waiting, id)
	f.kept -= len(list)
	for _, c := range list {
		if c.m.Action() == ActionReact {
			if s := f.about[id]; s != nil {
				s.react(c)
			}
			continue
		}
		f.change(c, true)
	}
}

func (s *Shown) react(c change) {
	if s.Deleted {
		return
	}
	for _, x := range c.m.Reactions() {
		s.all = append(s.all, Reacted{c.sender, x, c.id})
	}
	s.count()
}

// count shows each reaction of a sender once, in how many messages it may be.
func (s *Shown) count() {
	s.Reactions = nil
	for _, x := range s.all {
		if !slices.ContainsFunc(s.Reactions, func(r Reacted) bool { return r.Sender == x.Sender && r.Reaction == x.Reaction }) {
			s.Reactions = append(s.Reactions, x)
		}
	}
}

// rereact takes the reactions of a message back, and puts those of its new version there.
func (s *Shown) rereact(old MessageID, c change, late bool) {
	at := slices.IndexFunc(s.all, func(r Reacted) bool { return r.by == old })
	if at < 0 {
		return
	}
	own := s.all[at].Sender == c.sender
	_, empty := c.m.Body.Content.(NullPart)
	if !own && (late || !empty) {
		return
	}
	s.all = slices.DeleteFunc(s.all, func(r Reacted) bool { return r.by == old })
	if s.count(); !empty {
		s.react(change{old, c.sender, c.m})
	}
}

// List returns what there is to see, in the order of the log.
func (f *Fold) List() []*Shown { return f.list }

// Find returns what there is to see of a message by the id of any of its versions, nil if
// it is not here.
func (f *Fold) Find(id MessageID) *Shown { return f.about[f.named(id)] }

// Alias says that a message that was added has another id, too. An id is made of the room's
// name, so a message that was said in two rooms has two.
func (f *Fold) Alias(id, also MessageID) {
	if id == also {
		return
	}
	if f.also == nil {
		f.also = map[MessageID]MessageID{}
	}
	f.also[also] = id
	if list := f.waiting[also]; list != nil {
		delete(f.waiting, also)
		f.waiting[id] = append(f.waiting[id], list...)
		f.released(id)
	}
	list := f.said[also]
	delete(f.said, also)
	f.kept -= len(list)
	for _, r := range list {
		f.AddStatus(id, r.Sender, r.Status)
	}
}

// named returns the id by which a message was added.
func (f *Fold) named(id MessageID) MessageID {
	if x, ok := f.also[id]; ok {
		return x
	}
	return id
}
