// Package asset is what an attachment is, wherever it goes: its URL, and its encryption.
// Only values, readers and writers: who stores assets, brings and fetches them is
// elsewhere (node/assets, package client).
//
// Read url.go, seal.go (encrypting, checking and decrypting a stream), gcm.go.
//
// # An attachment
//
// The sender's device draws a key of AES-128 and a nonce, encrypts the file as one
// message of AES-GCM, and brings the ciphertext, with its tag at the end, to its provider,
// which stores it under its SHA-256. That hash, the key, the nonce and the URL go to the
// room in an ExternalPart (draft-ietf-mimi-content section 4.5). The associated data is
// empty: the message that carries the key is what binds it to room and sender.
//
// The draft says for none of the sizes and hashes of an ExternalPart whether the
// ciphertext or the content is meant. Here size is that of the content, since that is what
// people want to know, and contentHash is that of what is at the URL, since that can be
// checked before anything is decrypted.
//
// # Large files
//
// AES-GCM of the standard library takes a message in one piece. Seal, Check and Open do
// the same with 64 KiB of memory: the key stream is the standard library's AES-CTR, and
// the tag is put together from tags that the standard library's GCM computes of pieces
// (gcm.go). Tests compare them with the standard library's for all sizes around pieces
// and blocks, and by fuzzing.
//
// Nothing that was decrypted is to be used before tag and hash of the whole have been
// found right. Open can only say so at its end: whoever calls it keeps what was written
// so far to itself until then, and checks before with Check if that cannot be.
package asset
