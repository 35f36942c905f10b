// Package policy says what a participant of a room may do: roles, and the capabilities
// and role changes that each allows (draft-ietf-mimi-room-policy).
//
// A room's roles are the component roles_list of its GroupContext (Roles); a room without
// it has the basic ones (Basic), the same everywhere:
//
//	capability             none  banned  member  moderator  admin
//	add participants                       x        x         x
//	remove participants                             x         x
//	kick clients                                    x         x
//	ban, unban                                      x         x
//	change roles                                              x
//	add, remove own clients                x        x         x
//	leave                                  x        x         x
//	knock, use a join link   x
//	send messages                          x        x         x
//	answer who knocks                               x         x
//	make, revoke join links                         x         x
//	change name, topic, ...                         x         x
//	change hosting                                            x
//	change roles' definitions                                 x
//	end the room                                              x
//
// Every question is answered by tables alone, so providers and devices that ask the same
// get the same answer, and a refusal (Refusal) says in words what is missing. Which change
// of a room asks which question is package room's.
//
// # Our reading of the draft
//
// Where the draft leaves open what is meant, this holds:
//
//   - A capability that is about another user (kick, ban, unban, remove, change a role)
//     needs an entry for that user's role among the actor's authorized_role_changes, too:
//     for a kick, which changes no role, any entry. So nobody acts on somebody that the
//     tables put above them, though ranks are nowhere else.
//   - canUnban leads from banned to another role that is not none. Taking a banned user
//     off the list is canRemoveParticipant's, from 1 to 0.
//   - Who has canChangeUserRole may step down: to a role that may do nothing which the
//     present one may not. canChangeOwnRole is for preauthorized roles only.
//   - A commit may leave a count outside a role's bounds only where it was outside before
//     and is brought no further out, or a room whose last administrator's account was
//     deleted could change nothing more.
//   - canKnock, of role 0, and canAcceptKnock are reserved by the draft and mean here what
//     they are called (package knock). A room none of whose roles has canAcceptKnock has
//     knocks answered by who has canAddParticipant.
//   - Where succession or our own components need an order of roles, the role_index is it.
package policy
