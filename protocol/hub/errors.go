package hub

import "errors"

// ErrNotHub: this provider does not order the room; ask who does and submit there.
var ErrNotHub = errors.New("hub: this provider is not the room's hub")

// ErrWait: a handshake or a change of the replica set is not final yet, and a
// second one must wait for it; keep the commit until then or make it anew.
var ErrWait = errors.New("hub: an earlier handshake is not final yet")

// ErrTarget: the room cannot be handed to that provider, which is not in the
// replica set; change the set first.
var ErrTarget = errors.New("hub: the chosen provider is not a replica of the room")

// ErrStopped: what was final here has been contradicted by another final log. The
// room stands still until people have looked at both, and an administrator has moved it
// to go on with one of them.
var ErrStopped = errors.New("hub: the room has two final histories and is stopped")

// ErrMove: the commit does not extend the newest handshake that an acknowledging
// provider holds; make the commit again on that one.
var ErrMove = errors.New("hub: the commit is not on the newest handshake")
