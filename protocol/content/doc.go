// Package content is what people say to each other, as it is before encryption
// and after: the message format of draft-ietf-mimi-content-08 (-09 has the same
// CDDL and examples), and the status reports of
// draft-mahy-mimi-message-status-01. Sections in comments are the former's.
//
//	m := content.Reply(content.Origin{Sender: alice, Room: room}, id, content.Text("Yes."))
//	b, err := m.Encode(content.Limits{})        // for MLS to encrypt
//	myID, err := content.DeriveID(b, alice, room)
//
//	m, err := content.Decode(b, content.Limits{})  // what MLS decrypted
//	err = m.CheckOrigin(senderFromCredential, room)
//	fmt.Println(m.Action(), m.Text())
//
// # Reading order
//
// content.go (the types), codec.go (layout, decoding, encoding), cbor.go (how
// CBOR is read), id.go (salt, message id), compose.go (making messages),
// view.go (showing them), status.go, limits.go, errors.go.
//
// # Invariants
//
//   - One encoding: what Decode accepts, Encode returns octet by octet. Message
//     ids and franking tags are computed from the octets, so a second spelling
//     of a message would be another message.
//   - What Encode returns, Decode accepts under the same limits.
//   - Every length and count is bounded by Limits before memory is taken for
//     it, and the input before it is looked at.
//   - Unknown extensions, dispositions, media types and statuses survive.
//   - Values only: no IO, clock or lock. NewSalt, and so the constructors of
//     messages, read crypto/rand. A Message may be read from several goroutines
//     while none changes it; its slices are its own.
//
// # Decisions where the draft is silent or unclear
//
//   - The deterministic encoding is that of RFC 8949 section 4.2.1; "RFC7094
//     canonical" in section 6.1 is a misprint for RFC 7049's, which sorts keys
//     by length first. Inside extensions it is checked as well, down to floats
//     and bignums in their shortest form.
//   - A level of section 6.3 is a part: the body is the first level, and four
//     are allowed. Of extensions a level is a map, array or tag, the extensions
//     map being the first.
//   - ".size (0..4095)" on an extension's value, in section 4.3 only, bounds its
//     encoding. It is a limit that can be raised.
//   - The key 0 is reserved, and read and written like any unknown key.
//   - Extensions 1 and 2 may be absent, and then Sender and Room are empty.
//     Present and empty they are refused.
//   - A message id that does not begin with SHA-256's number refers to nothing;
//     section 9.1 discards such messages, and so does Decode.
//   - An edit or deletion keeps topic, expiration, reply and extensions of the
//     message that it replaces, as the examples do and section 9.3 asks.
//   - A year, for section 9.1, has 366 days.
//   - MessageDerivedValues (section 4.6) is a table for explaining examples and
//     never sent, so it has no type here; Decode refuses it.
//   - The reaction in section 5.3 is U+2764 in all examples, U+2665 in the
//     prose; the ids in the draft's hex dumps of replies are those of draft 07.
//     The published files of the examples are right.
//
// # For whoever receives a message
//
// Decode proves nothing about who sent it. Compare CheckOrigin with MLS, then
// CheckExpiry with the time of acceptance; discard a message whose id is known
// already; let only the sender of a message, or whom the room's policy allows,
// edit or delete it; and follow InReplyTo only as far as no message comes up
// twice (section 4.1).
package content
