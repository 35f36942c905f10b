package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// A backup is one stream, integers big-endian:
//
//	"mimid backup\n"            13 bytes
//	uint32 version = 2          of this format; 1 is the same without large files
//	uint32 key space            format version of the keys and values
//	uint64 created              Unix ms
//	opaque id[16]               random, names this backup
//	records, and then the end
//
// A record is one of these, all files before the first key:
//
//	01  uint16 n, name[n], uint32 m, contents[m]     a file that belongs to the store's owner
//	02  uint16 n, key[n], uint32 m, value[m]         keys strictly ascending
//	03  uint16 n, name[n], uint64 m, contents[m]     a large file, after all keys
//	00  uint64 number of keys, SHA-256[32] of everything before the hash
//
// Nothing follows the end. n is at most MaxKey and m at most MaxValue, that of a large
// file at most MaxLarge. The keys are those of one commit. Not among them are 01 (a restored store counts its own commits) and
// SpaceRestored (every room of a restored store is marked anew).
//
// The hash finds damage, not forgery: whoever can write the file can make the hash too.
// Keep a backup where only its owner can read and write, as the store itself.
const (
	backupMagic   = "mimid backup\n"
	backupVersion = 2
	backupHeader  = len(backupMagic) + 4 + 4 + 8 + 16

	recordEnd   = 0x00
	recordFile  = 0x01
	recordKey   = 0x02
	recordLarge = 0x03

	// MaxLarge bounds one large file.
	MaxLarge = 1 << 40

	// maxBackupFiles bounds what a backup carries beside the keys, which is held in memory.
	maxBackupFiles = 1024
	// backupBuffer is what is held of a backup while it is written or read.
	backupBuffer = 1 << 20
)

// A BackupID names a backup.
type BackupID [16]byte

// String shows the id in hexadecimal.
func (id BackupID) String() string { return fmt.Sprintf("%x", id[:]) }

// A BackupFile is a small file that its owner wants to have back together with the store.
type BackupFile struct {
	Name string // 1 to MaxKey bytes; the store does not look at it
	Data []byte // at most MaxValue bytes
}

// A LargeFile is a file of its owner's that is no part of the store, is copied beside it,
// and may be too large for memory.
type LargeFile struct {
	Name string // 1 to MaxKey bytes
	Size int64  // 0 to MaxLarge
	// Open opens it; it must have Size bytes.
	Open func() (io.ReadCloser, error)
}

// BackupInfo says what a backup holds.
type BackupInfo struct {
	ID      BackupID
	Created time.Time
	Rooms   uint64 // room heads among the keys
	Keys    uint64
	Large   uint64 // large files
	Bytes   uint64 // of the whole stream
}

// Backup writes the last durable state to w as one consistent stream, while the store is
// in use, and files with it. It holds a megabyte of it at a time. The checksums of all
// tables are compared first, because damage reads as missing keys. progress, if not nil,
// is called now and then with the bytes written so far. Errors: those of w, ErrTooLarge
// (a file), ErrCorrupted, ErrClosed, ErrFailed, and the cause of ctx's end; w then holds
// something that no restore accepts.
func (s *Store) Backup(ctx context.Context, w io.Writer, files []BackupFile, progress func(bytes uint64)) (*BackupInfo, error) {
	return s.BackupWith(ctx, w, files, nil, progress)
}

// BackupWith is Backup with large files, which large names by the state that is backed up.
func (s *Store) BackupWith(ctx context.Context, w io.Writer, files []BackupFile, large func(*Tx) ([]LargeFile, error), progress func(bytes uint64)) (*BackupInfo, error) {
	info := &BackupInfo{Created: time.UnixMilli(time.Now().UnixMilli()).UTC()}
	rand.Read(info.ID[:])
	if len(files) > maxBackupFiles {
		return nil, fmt.Errorf("%w: %d files in a backup, at most %d", ErrTooLarge, len(files), maxBackupFiles)
	}
	for _, f := range files {
		if len(f.Name) == 0 || len(f.Name) > MaxKey || len(f.Data) > MaxValue {
			return nil, fmt.Errorf("%w: file %.100q of %d bytes in a backup, at most %d", ErrTooLarge, f.Name, len(f.Data), MaxValue)
		}
	}
	if err := s.Verify(); err != nil {
		return nil, fmt.Errorf("backing up: %w", err)
	}
	b := &backupWriter{w: w, sum: sha256.New(), buf: make([]byte, 0, backupBuffer+MaxKey+MaxValue+64), progress: progress}
	err := s.View(func(tx *Tx) error { return b.stream(ctx, tx, info, files, large) })
	if err != nil {
		return nil, fmt.Errorf("backing up: %w", err)
	}
	info.Bytes = b.written
	return info, nil
}

type backupWriter struct {
	w        io.Writer
	sum      hash.Hash
	buf      []byte // not yet written and hashed
	written  uint64
	progress func(uint64)
}

func (b *backupWriter) stream(ctx context.Context, tx *Tx, info *BackupInfo, files []BackupFile, large func(*Tx) ([]LargeFile, error)) error {
	b.buf = append(b.buf, backupMagic...)
	b.buf = binary.BigEndian.AppendUint32(b.buf, backupVersion)
	b.buf = binary.BigEndian.AppendUint32(b.buf, formatVersion)
	b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(info.Created.UnixMilli()))
	b.buf = append(b.buf, info.ID[:]...)
	for _, f := range files {
		b.record(recordFile, f.Name, f.Data)
		if err := b.spill(ctx); err != nil {
			return err
		}
	}
	for it, err := range tx.Scan(Scan{From: Key{string([]byte{prefixRoomHead})}}) {
		if err != nil {
			return err
		}
		if !inBackup(it.Key) {
			continue
		}
		info.Keys++
		if it.Key.s[0] == prefixRoomHead {
			info.Rooms++
		}
		b.record(recordKey, it.Key.s, it.Value)
		if err := b.spill(ctx); err != nil {
			return err
		}
	}
	if large != nil {
		list, err := large(tx)
		if err != nil {
			return err
		}
		for _, f := range list {
			if err := b.large(ctx, f); err != nil {
				return fmt.Errorf("file %.100q: %w", f.Name, err)
			}
			info.Large++
		}
	}
	b.buf = binary.BigEndian.AppendUint64(append(b.buf, recordEnd), info.Keys)
	if err := b.flush(ctx); err != nil {
		return err
	}
	b.buf = b.sum.Sum(b.buf)
	return b.flush(ctx)
}

func (b *backupWriter) record(kind byte, name string, data []byte) {
	b.buf = binary.BigEndian.AppendUint16(append(b.buf, kind), uint16(len(name)))
	b.buf = binary.BigEndian.AppendUint32(append(b.buf, name...), uint32(len(data)))
	b.buf = append(b.buf, data...)
}

// large copies a large file, a part of the buffer at a time.
func (b *backupWriter) large(ctx context.Context, f LargeFile) error {
	if len(f.Name) == 0 || len(f.Name) > MaxKey || f.Size < 0 || f.Size > MaxLarge {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, f.Size)
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	b.buf = binary.BigEndian.AppendUint16(append(b.buf, recordLarge), uint16(len(f.Name)))
	b.buf = binary.BigEndian.AppendUint64(append(b.buf, f.Name...), uint64(f.Size))
	for left := f.Size; left > 0; {
		n := int(min(left, backupBuffer/4))
		at := len(b.buf)
		b.buf = append(b.buf, make([]byte, n)...)
		if _, err := io.ReadFull(r, b.buf[at:]); err != nil {
			return fmt.Errorf("it ends %d bytes too early: %w", left, err)
		}
		left -= int64(n)
		if err := b.spill(ctx); err != nil {
			return err
		}
	}
	return b.spill(ctx)
}

func (b *backupWriter) spill(ctx context.Context) error {
	if len(b.buf) < backupBuffer {
		return nil
	}
	return b.flush(ctx)
}

func (b *backupWriter) flush(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.sum.Write(b.buf)
	n, err := b.w.Write(b.buf)
	if err == nil && n < len(b.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return classify(fmt.Errorf("writing: %w", err), nil)
	}
	b.written += uint64(n)
	b.buf = b.buf[:0]
	if b.progress != nil {
		b.progress(b.written)
	}
	return nil
}

// inBackup says whether a key is of a kind that a backup holds.
func inBackup(k Key) bool {
	switch p := k.s[0]; {
	case p >= prefixRoomHead && p <= prefixRoomBatch:
		return true
	default:
		sp := Space(p)
		return sp >= SpaceAccounts && sp <= lastSpace && sp != SpaceRestored
	}
}

// A Restored is the mark of a store that was made from a backup: key 01 02, and under
// each room's id in SpaceRestored until that room is known to be whole again.
//
//	uint8 version = 1
//	uint64 when                 Unix ms
//	opaque id[16]               of the backup
type Restored struct {
	When   time.Time
	Backup BackupID
}

const restoredLen = 1 + 8 + 16

func (r Restored) bytes() []byte {
	b := binary.BigEndian.AppendUint64([]byte{1}, uint64(r.When.UnixMilli()))
	return append(b, r.Backup[:]...)
}

func parseRestored(v []byte) (*Restored, error) {
	if len(v) != restoredLen || v[0] != 1 {
		return nil, fmt.Errorf("%w: the mark of a restored store has %d bytes", ErrCorrupted, len(v))
	}
	return &Restored{time.UnixMilli(int64(binary.BigEndian.Uint64(v[1:]))).UTC(), BackupID(v[9:])}, nil
}

// Restored returns the mark of a store that was restored, nil for one that never was. It
// stays for good. Error: ErrCorrupted.
func (tx *Tx) Restored() (*Restored, error) { return tx.restored(restoredKey) }

// RoomRestored returns the mark of a room that came from a backup and is not yet known
// to be whole, nil for others. While it is there, this provider must sign nothing in that
// room that it might have signed otherwise before. Error: ErrCorrupted.
func (tx *Tx) RoomRestored(id RoomID) (*Restored, error) {
	return tx.restored(SpaceRestored.Key(id[:]))
}

// ClearRoomRestored says that a room is whole again. It does nothing if there is no mark.
func (tx *Tx) ClearRoomRestored(id RoomID) error { return tx.Delete(SpaceRestored.Key(id[:])) }

// RestoredRooms counts the rooms that have the mark.
func (tx *Tx) RestoredRooms() (n int, err error) {
	for _, err := range tx.Scan(Scan{Prefix: SpaceRestored.Prefix(nil), KeysOnly: true}) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func (tx *Tx) restored(k Key) (*Restored, error) {
	v, err := tx.Get(k)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseRestored(v)
}
