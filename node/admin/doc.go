// Package admin lets the operator of a running node talk to it: HTTP with JSON on a
// unix socket in the data directory, for the program's own commands and for scripts:
//
//	curl --unix-socket DATA/admin.sock http://admin/status
//
// Read types.go (what is said), services.go (who answers), server.go (the socket),
// client.go (the other side), backup.go and drain.go (streams instead of one JSON value).
//
// Who may open the socket may do everything: it has mode 0600, and the data directory
// 0700, so that is the user that the node runs as. There are no tokens. Unlike a
// client, an operator is told the details of every error.
//
//	GET    /status                       Status
//	POST   /invites                      NewInvite -> Invite, with its code
//	GET    /invites                      InviteList
//	DELETE /invites/{id}
//	GET    /users?after=&limit=          UserList
//	GET    /rooms?after=&limit=          RoomList
//	GET    /rooms/{id}                   Room
//	GET    /rooms/{id}/log?from=&limit=&branch=  LogPage; branch: one that was lost by a move
//	POST   /rooms/{id}/rejoin            Room: follow it as it was moved
//	POST   /rooms/{id}/move              Move -> Moved; waits until the target orders it
//	POST   /drain                        hands all rooms over; a stream of lines, see drain.go
//	GET    /peers                        PeerList
//	POST   /peers/{domain}/pin           Pin: from now on this key, whatever else is claimed
//	DELETE /peers/{domain}/pin           forget what was trusted, and trust anew
//	POST   /key/rotate                   Rotated
//	POST   /verify                       Verification; reads the whole store
//	POST   /backup                       a backup as a stream, keys included, see backup.go
//
// Errors have a clientapi.Problem as their body.
//
// # The socket file
//
// It is made under another name, gets its mode, and is then renamed, so that nobody
// ever sees it with other rights, and a stale one, which a crash leaves behind, is
// replaced in one step. Stale is one that nobody answers on. A node must open its
// store before: the store's lock decides between two nodes that start at once.
package admin
