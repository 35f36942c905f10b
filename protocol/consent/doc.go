// Package consent is the state machine by which a user decides who may fetch
// its KeyPackages, and so add it to rooms (MIMI protocol sections 5.7 and 8).
//
// A requester asks, the target's provider keeps one State for each (target,
// requester, scope), where a scope is one room or any room, and steps it with
// what either side says. Grants and refusals need no request before them.
//
// What a requester can learn is the same in every state but Granted: a request
// is received, and then nothing comes. A refusal is silent, a request that is
// ignored because the requester was refused or blocked looks like one that has
// not been answered. So every Effect towards the requester is listed here, and
// whoever performs them adds none.
//
//	            request     cancel      grant        revoke      block        unblock
//	None        by mode     None        Granted+r    Revoked     Blocked      None
//	Requested   by mode     None+w      Granted+r    Revoked     Blocked      Requested
//	Granted     Granted+r   None        Granted+r    Revoked+r   Blocked+r    Granted
//	Revoked     Revoked     Revoked     Granted+r    Revoked     Blocked      Revoked
//	Blocked     Blocked     Blocked     error        Blocked     Blocked      Revoked
//	Held        by mode     None        Granted+r    Revoked     Blocked      Held
//
// +t shows the request to the target, +w takes it from view again, +r tells the
// requester's provider of the grant or of its end. Request and cancel are the
// requester's, the others the target's. Unblocking leaves Revoked, not None: who
// was blocked is not heard again until the target grants by itself.
//
// # Modes
//
// What becomes of somebody about whom nothing was decided, the user's Mode says. It may
// have exceptions, for a requester and for all users of a provider. The most specific
// wins: what was decided about the very requester (Granted, Revoked, Blocked), then an
// exception for it, then one for its provider, then the user's mode (Resolve).
//
//	request in  ask           open          quarantine    closed
//	None        Requested+t   None+r        Held          None
//	Requested   Requested     Requested+r   Requested     Requested
//	Held        Requested+t   Held+r        Held          Held
//
// In mode open the requester is told yes, and nothing is stored: it is the mode that lets
// it in, and no longer than that is the mode. What was asked before still waits for an answer.
// In mode quarantine a request is kept and not shown, for the user to see when it looks for
// such; in mode closed it is not kept either.
//
// Judge says what a requester gets who wants KeyPackages, or who has put the user into a room:
//
//	                         ask     open    quarantine  closed
//	Blocked, any or room     Refuse  Refuse  Refuse      Refuse
//	room Granted             Admit   Admit   Admit       Admit
//	room Revoked             Refuse  Refuse  Refuse      Refuse
//	any Granted              Admit   Admit   Admit       Admit
//	any Revoked              Refuse  Refuse  Refuse      Refuse
//	otherwise                Refuse  Admit   Hold        Refuse
//
// A row wins over those below it. Whom to Hold gets
// KeyPackages like whom to Admit, and so learns that there is such a user: that is what the
// mode is for. What it does with them is kept from the user's devices.
//
// # Invitations
//
// An invitation (Invitation) is a request about one room. It is an offer, to which no is an
// answer, too: StepInvitation differs from Step in that revoke tells the requester of it in the
// state Requested. Whoever wants to say nothing says nothing. Who is refused or blocked
// for any room is not heard with an invitation either (Hears).
//
// # Places
//
// A user has places for so many requests (Places). When all are taken, the provider that has
// most of them yields to one that has fewer, so that a few providers with made-up accounts keep
// nobody out: see Places.Take and Yield. The caller counts, and forgets what yields.
//
// Pure: values in, values out. Limits on how often a requester may ask belong
// to the caller.
package consent
