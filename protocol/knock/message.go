package knock

import (
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mimid/mimid/protocol/mls"
	"github.com/mimid/mimid/protocol/mls/x509auth"
	"github.com/mimid/mimid/protocol/presentation"
	"github.com/mimid/mimid/protocol/room"
	"github.com/mimid/mimid/protocol/uri"
)

// The endpoints between providers, beside MIMI's. Requests are signed by the provider that
// sends them, as all are; the room is the envelope's and the URL's.
const (
	// EndpointKnock brings a Word from the user's provider to the room's hub. The answer is
	// a Status. A provider that does not order the room refuses with CodeForbidden.
	EndpointKnock = "mimid-knock"
	// EndpointShow brings a Showing from the hub to a provider of users who may answer.
	EndpointShow = "mimid-knock-show"
	// EndpointRefuse brings a Refusal from such a provider to the hub. The answer is empty.
	EndpointRefuse = "mimid-knock-refuse"
	// EndpointStatus brings a Status from the hub to the user's provider.
	EndpointStatus = "mimid-knock-status"
)

// Bounds, in octets.
const (
	MaxNote = 256      // of a note, and of the text of a refusal
	MaxWord = 16 << 10 // of a Word, with its credential
	// MaxMessage bounds the other messages. A Showing may hold a Word.
	MaxMessage = MaxWord + 1<<10
)

// ErrMessage: a message that does not decode or says what it may not.
var ErrMessage = errors.New("knock: malformed message")

const version = 1

// Word is what a user says at a room's door.
//
//	enum { ask(1), cancel(2), (255) } KnockWhat;
//	struct {
//	    uint8 version = 1;
//	    KnockWhat what;
//	    opaque room<V>;               /* the room's URI */
//	    uint64 issued;                /* ms since 1970: a newer word replaces an older one */
//	    opaque note<V>;               /* UTF-8, one line, at most 256 octets; empty in a cancel */
//	    opaque signature_key<V>;      /* of the user's device, of the rooms' cipher suite */
//	    Credential credential;        /* RFC 9420; X.509, names the user */
//	    opaque signature<V>;
//	} KnockWord;
//
// The signature is SignWithLabel(signature_key, "mimid knock v1", all fields before it).
type Word struct {
	What         What // Ask or Cancel
	Room         uri.Room
	Issued       time.Time // whole milliseconds
	Note         string
	SignatureKey []byte
	Credential   mls.Credential
	Signature    []byte
}

const wordLabel = "mimid knock v1"

func (w *Word) tbs(b []byte) []byte {
	b = append(b, version, byte(w.What))
	b = presentation.AppendOpaque(b, []byte(w.Room.String()))
	b = presentation.AppendU64(b, millis(w.Issued))
	b = presentation.AppendOpaque(b, []byte(w.Note))
	b = presentation.AppendOpaque(b, w.SignatureKey)
	return w.Credential.Append(b)
}

// Append appends the encoding.
func (w *Word) Append(b []byte) []byte { return presentation.AppendOpaque(w.tbs(b), w.Signature) }

// ParseWord reads what Append has written. The octets are copied. Error: ErrMessage.
func ParseWord(b []byte) (*Word, error) {
	if len(b) > MaxWord {
		return nil, fmt.Errorf("a word of %d octets (limit %d): %w", len(b), MaxWord, ErrMessage)
	}
	r := presentation.NewReader(append([]byte(nil), b...))
	readVersion(r)
	w := &Word{What: What(r.U8())}
	w.Room = readRoom(r)
	w.Issued = readTime(r)
	w.Note = string(r.Opaque())
	w.SignatureKey = r.Opaque()
	w.Credential.Read(r, room.BodyLimits().Limits)
	w.Signature = r.Opaque()
	if err := r.Done(); err != nil {
		return nil, fmt.Errorf("reading a word: %w: %w", ErrMessage, err)
	}
	return w, w.check()
}

func (w *Word) check() error {
	switch {
	case w.What != Ask && w.What != Cancel:
		return fmt.Errorf("word %d: %w", w.What, ErrMessage)
	case w.Room.IsZero():
		return fmt.Errorf("a word at no room: %w", ErrMessage)
	case w.What == Cancel && w.Note != "":
		return fmt.Errorf("a cancel with a note: %w", ErrMessage)
	}
	return CheckNote(w.Note)
}

// CheckNote says whether a note, or the text of a refusal, may be said: one line of at most
// MaxNote octets, in which nothing is hidden. Error: ErrMessage.
func CheckNote(s string) error {
	if len(s) > MaxNote || !utf8.ValidString(s) {
		return fmt.Errorf("a note of %d octets, which is too long (limit %d) or no UTF-8: %w", len(s), MaxNote, ErrMessage)
	}
	for _, c := range s {
		if c != ' ' && !unicode.IsGraphic(c) { // formatting characters are not
			return fmt.Errorf("a note with the character %U: %w", c, ErrMessage)
		}
	}
	return nil
}

// Sign completes a word with the user's device key. Error: ErrMessage.
func (w *Word) Sign(key mls.SignatureKey) (err error) {
	w.SignatureKey = key.Public()
	if err := w.check(); err != nil {
		return err
	}
	w.Signature, err = key.Sign(wordLabel, w.tbs(nil))
	if n := len(w.Append(nil)); err == nil && n > MaxWord {
		return fmt.Errorf("a word of %d octets (limit %d): %w", n, MaxWord, ErrMessage)
	}
	return err
}

// User returns whom the credential names, which Verify shows to be true. Error: ErrMessage.
func (w *Word) User() (uri.User, error) {
	s, err := x509auth.UserURI(w.Credential)
	if err == nil {
		var u uri.User
		if u, err = uri.ParseUser(s); err == nil {
			return u, nil
		}
	}
	return uri.User{}, fmt.Errorf("the credential of a word: %w: %w", ErrMessage, err)
}

// VerifiedWord is a word that a device of its user has said.
type VerifiedWord struct {
	w    *Word
	user uri.User
}

// Word returns the word, which must not be changed.
func (v *VerifiedWord) Word() *Word { return v.w }

// User returns who has said it.
func (v *VerifiedWord) User() uri.User { return v.user }

// Verify checks the signature, by auth that the credential was good for its key when the word
// was said, and that this was not in the future. How old a word may be is Step's to say.
// Errors: ErrMessage, those of auth and of the signature.
func (w *Word) Verify(auth mls.Authenticator, now time.Time) (*VerifiedWord, error) {
	user, err := w.User()
	if err == nil {
		err = room.Suite.Verify(w.SignatureKey, wordLabel, w.tbs(nil), w.Signature)
	}
	if err == nil && w.Issued.Sub(now) > Ahead {
		err = fmt.Errorf("said at %s, which is to come: %w", w.Issued.UTC().Format(time.RFC3339), ErrMessage)
	}
	if err == nil {
		err = auth.Authenticate(w.Credential, w.SignatureKey, w.Issued)
	}
	if err != nil {
		return nil, fmt.Errorf("verifying a knock: %w", err)
	}
	return &VerifiedWord{w, user}, nil
}

// Showing shows a knock to a provider of users who may answer, or takes it from view.
//
//	struct {
//	    uint8 version = 1;
//	    uint8 shown;                       /* withdraw(0), show(1) */
//	    select (shown) {
//	        case withdraw: opaque user<V>; /* URI of the user who knocked */
//	        case show:     KnockWord word;
//	    };
//	} KnockShowing;
type Showing struct {
	Word *Word    // nil: withdrawn
	User uri.User // who knocked; read from the word where there is one
}

// Append appends the encoding.
func (s *Showing) Append(b []byte) []byte {
	b = presentation.AppendOptional(append(b, version), s.Word != nil)
	if s.Word != nil {
		return s.Word.Append(b)
	}
	return presentation.AppendOpaque(b, []byte(s.User.String()))
}

// ParseShowing reads what Append has written. Error: ErrMessage.
func ParseShowing(b []byte) (*Showing, error) {
	r := presentation.NewReader(b)
	readVersion(r)
	s := new(Showing)
	if r.Optional() {
		var err error
		if s.Word, err = ParseWord(r.Rest()); err != nil {
			return nil, err
		}
		s.User, err = s.Word.User()
		return s, err
	}
	s.User = readUser(r)
	return s, done(r, "a showing")
}

// Refusal says that somebody who may answer does not let a user in.
//
//	struct {
//	    uint8 version = 1;
//	    opaque user<V>;     /* URI of who knocked */
//	    opaque by<V>;       /* URI of who refuses */
//	    opaque text<V>;     /* for the user, as a note; usually empty */
//	} KnockRefusal;
type Refusal struct {
	User, By uri.User
	Text     string
}

// Append appends the encoding.
func (x *Refusal) Append(b []byte) []byte {
	b = presentation.AppendOpaque(append(b, version), []byte(x.User.String()))
	b = presentation.AppendOpaque(b, []byte(x.By.String()))
	return presentation.AppendOpaque(b, []byte(x.Text))
}

// ParseRefusal reads what Append has written. Error: ErrMessage.
func ParseRefusal(b []byte) (*Refusal, error) {
	r := presentation.NewReader(b)
	readVersion(r)
	x := &Refusal{User: readUser(r), By: readUser(r), Text: string(r.Opaque())}
	if err := done(r, "a refusal"); err != nil {
		return nil, err
	}
	return x, CheckNote(x.Text)
}

// Status says to the user's provider what has become of a knock.
//
//	struct {
//	    uint8 version = 1;
//	    uint8 answer;       /* waiting(1), refused(2), inside(3), cancelled(4), closed(5), expired(6) */
//	    opaque user<V>;     /* URI of who knocked */
//	    opaque text<V>;     /* of a refusal, as a note; else empty */
//	} KnockStatus;
type Status struct {
	Answer Answer
	User   uri.User
	Text   string
}

// Append appends the encoding.
func (x *Status) Append(b []byte) []byte {
	b = presentation.AppendOpaque(append(b, version, byte(x.Answer)), []byte(x.User.String()))
	return presentation.AppendOpaque(b, []byte(x.Text))
}

// ParseStatus reads what Append has written. Error: ErrMessage.
func ParseStatus(b []byte) (*Status, error) {
	r := presentation.NewReader(b)
	readVersion(r)
	x := &Status{Answer: Answer(r.U8()), User: readUser(r), Text: string(r.Opaque())}
	if r.Err() == nil && (x.Answer < IsWaiting || x.Answer > IsTooOld) {
		r.Fail(ErrMessage, "answer %d", x.Answer)
	}
	if r.Err() == nil && x.Text != "" && x.Answer != IsRefused {
		r.Fail(ErrMessage, "%s with a text", x.Answer)
	}
	if err := done(r, "a status"); err != nil {
		return nil, err
	}
	return x, CheckNote(x.Text)
}

func millis(t time.Time) uint64 { return uint64(max(0, t.UnixMilli())) }

func readTime(r *presentation.Reader) time.Time {
	ms := r.U64()
	if ms > 1<<48 {
		r.Fail(ErrMessage, "a time of %d ms after 1970", ms)
	}
	return time.UnixMilli(int64(ms & (1<<49 - 1)))
}

func readVersion(r *presentation.Reader) {
	if v := r.U8(); v != version && r.Err() == nil {
		r.Fail(ErrMessage, "version %d", v)
	}
}

func readUser(r *presentation.Reader) uri.User {
	s := r.Opaque()
	if r.Err() != nil {
		return uri.User{}
	}
	u, err := uri.ParseUser(string(s))
	if err != nil {
		r.Fail(ErrMessage, "user %.100q: %v", s, err)
	}
	return u
}

func readRoom(r *presentation.Reader) uri.Room {
	s := r.Opaque()
	if r.Err() != nil {
		return uri.Room{}
	}
	u, err := uri.ParseRoom(string(s))
	if err != nil {
		r.Fail(ErrMessage, "room %.100q: %v", s, err)
	}
	return u
}

func done(r *presentation.Reader, what string) error {
	if err := r.Done(); err != nil {
		return fmt.Errorf("reading %s: %w: %w", what, ErrMessage, err)
	}
	return nil
}
