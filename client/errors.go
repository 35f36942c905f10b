package client

import "errors"

// Errors are sentinels: test with errors.Is. What the provider refused is a
// *clientapi.Problem in the chain (errors.As).
var (
	// ErrNotRegistered: there is no account in this storage. Register first.
	ErrNotRegistered = errors.New("client: not registered")
	// ErrRegistered: there is an account in this storage already.
	ErrRegistered = errors.New("client: already registered")
	// ErrStopped: Run has ended, or ended while the call waited. What was durable
	// goes on when the client is opened and run again.
	ErrStopped = errors.New("client: not running")
	// ErrStorage: the storage failed or holds what this program did not write. If
	// it failed, open the client again; nothing is lost.
	ErrStorage = errors.New("client: storage")
	// ErrProtocol: the provider sent what it must not send. Its operator has to
	// know; the client does not act on it.
	ErrProtocol = errors.New("client: provider broke the protocol")
	// ErrUninvited: the user was put on a room's list by people none of whom it lets add it, so
	// its devices do not come in by themselves. JoinRoom comes in; nothing else need be done.
	ErrUninvited = errors.New("client: you were put on the list of a room by people who may not add you; your devices stay out unless you join it")
	// ErrUnreachable: the provider could not be reached. The client tries again
	// by itself where the call was durable.
	ErrUnreachable = errors.New("client: provider not reachable")
	// ErrProviderStopped: the user's own provider follows a room no further, because what
	// its hub has signed cannot be, or two histories of it are final. Ask the operator,
	// who has the proof; an administrator can move the room.
	ErrProviderStopped = errors.New("client: the room stands still here, because what its hub has signed cannot be true")
	// ErrConflict: most of the providers that decide about the room have certified two
	// histories of it. Nothing is sent until an administrator moves the room (MoveRoom) to
	// a provider with the history that is to go on; what was sent meanwhile waits.
	ErrConflict = errors.New("client: two histories of the room are final; it stands still until an administrator moves it with `mimid client room move`")
	// ErrMoving: the own provider has acknowledged that the room is moved to another one and
	// has not heard whether it was, so that it orders nothing there. Wait until that provider
	// is back, or have an administrator at a third one move the room.
	ErrMoving = errors.New("client: the room is being moved elsewhere; wait for that provider, or have an administrator at another one move the room")
	// ErrParted: the room was moved away from before the end of what this device has had in
	// it. Nothing is sent or followed there until its user comes back into it (Rejoin).
	ErrParted = errors.New("client: the room goes on elsewhere without what was said here; come back into it with `mimid client room rejoin`")
	// ErrNothingLost: no branch of the room was lost here: there is nothing to come back from.
	ErrNothingLost = errors.New("client: the room has lost nothing here")
	// ErrBusyRoom: the room went on meanwhile. Try again.
	ErrBusyRoom = errors.New("client: the room went on meanwhile; try again")
	// ErrNoProvider: something answers at the URL that is no provider, a web site perhaps.
	// It comes with ErrUnreachable.
	ErrNoProvider = errors.New("client: not answered by a provider")
	// ErrURL: what was given as the provider's URL is none. Give one that begins
	// with https://, or http:// on the same machine.
	ErrURL = errors.New("client: not a provider's URL")
	// ErrNoRoom: there is no such room here, or this client is no longer in it.
	ErrNoRoom = errors.New("client: no such room")
	// ErrNotReady: the client is in the room, but not in its group yet: the room
	// is being created or entered again. Try again soon.
	ErrNotReady = errors.New("client: room not ready")
	// ErrOwnDevice: a device does not remove itself. Say it on another one.
	ErrOwnDevice = errors.New("client: this is the device that you are using; remove it from another one")
	// ErrNoDevice: the user has no device of that name, or had it removed before.
	ErrNoDevice = errors.New("client: there is no such device in your account, nor in your rooms")
	// ErrNoMessage: this device has no message of that index in the room.
	ErrNoMessage = errors.New("client: there is no such message on this device")
	// ErrNoAttachment: the message has no such attachment, or one that cannot be fetched
	// and checked.
	ErrNoAttachment = errors.New("client: no attachment")
	// ErrNoSpool: this client was opened without a place for files.
	ErrNoSpool = errors.New("client: there is no place for attachments")
	// ErrPending: the attachment is kept here, and goes out by itself while the client
	// runs. Do not attach it again.
	ErrPending = errors.New("client: the attachment has not gone out yet")
	// ErrRefused: the room's hub refused the change or the message, because this
	// user may not do that or somebody did it first.
	ErrRefused = errors.New("client: refused by the room")
	// ErrNoConsent: the user has not consented to be added by this one, or does
	// not exist; these look the same. Ask with RequestContact.
	ErrNoConsent = errors.New("client: no consent")
	// ErrNoKeyPackage: the user consented but none of its devices can be added
	// now. Try again when one of them has been online.
	ErrNoKeyPackage = errors.New("client: user cannot be added now")
	// ErrProviderKey: another provider's key is not the one that was seen first.
	// Nothing that rests on the new key is believed.
	ErrProviderKey = errors.New("client: provider's key changed")
	// ErrLog: the room's log, as it came, does not continue what was verified
	// before or is not signed by its hub.
	ErrLog = errors.New("client: room log does not verify")
)
