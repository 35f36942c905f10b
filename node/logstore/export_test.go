package logstore

import "github.com/mimid/mimid/protocol/room"

// EncodeVoted and DecodeVoted are the stored form of a proof of two votes.
func EncodeVoted(v *Voted) []byte { return v.append(nil) }

func DecodeVoted(id room.ID, voter string, b []byte) (*Voted, error) { return parseVoted(id, voter, b) }

// EncodeHeard and DecodeHeard are the stored form of votes that were heard.
func EncodeHeard(list []room.Ballot) []byte { return appendHeard(nil, list) }

func DecodeHeard(id room.ID, voter string, b []byte) ([]room.Ballot, error) {
	return parseHeard(id, voter, b)
}
