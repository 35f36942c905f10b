package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// A BackupReader reads one backup from its beginning to its end. It belongs to one
// goroutine.
type BackupReader struct {
	r         *bufio.Reader
	sum       hash.Hash
	read      uint64
	info      BackupInfo
	files     []BackupFile
	pending   byte // the kind of the record that follows, already read
	last      string
	lastLarge string
	restored  bool
}

// ReadBackup reads the beginning of a backup, the files included. Nothing of it is to be
// relied on before Restore has returned without an error: only the end proves that the
// stream is whole. Errors: ErrBackup, ErrFormat, those of r.
func ReadBackup(r io.Reader) (*BackupReader, error) {
	b := &BackupReader{r: bufio.NewReaderSize(r, backupBuffer), sum: sha256.New()}
	if err := b.start(); err != nil {
		return nil, fmt.Errorf("reading backup: %w", err)
	}
	return b, nil
}

// Info is what is known so far: the id and time from the beginning on, all after Restore.
func (b *BackupReader) Info() BackupInfo { return b.info }

// Files are the files that came with the store. The caller must not change them.
func (b *BackupReader) Files() []BackupFile { return b.files }

func (b *BackupReader) start() error {
	var h [backupHeader]byte
	magic := h[:len(backupMagic)]
	if err := b.fill(magic); err != nil {
		return err
	}
	if string(magic) != backupMagic {
		return fmt.Errorf("%w: it does not begin as one", ErrBackup)
	}
	rest := h[len(backupMagic):]
	if err := b.fill(rest); err != nil {
		return err
	}
	if v := binary.BigEndian.Uint32(rest); v != backupVersion && v != 1 {
		return fmt.Errorf("%w: backup of version %d, this program reads %d: use the program that made it, or a newer one", ErrFormat, v, backupVersion)
	}
	if v := binary.BigEndian.Uint32(rest[4:]); v != formatVersion {
		return fmt.Errorf("%w: backup of a store of version %d, this program reads %d: use the program that made it, or a newer one", ErrFormat, v, formatVersion)
	}
	b.info.Created = time.UnixMilli(int64(binary.BigEndian.Uint64(rest[8:]))).UTC()
	copy(b.info.ID[:], rest[16:])
	for {
		if err := b.kind(); err != nil {
			return err
		}
		if b.pending != recordFile {
			return nil
		}
		if len(b.files) == maxBackupFiles {
			return fmt.Errorf("%w: more than %d files", ErrBackup, maxBackupFiles)
		}
		name, data, err := b.record()
		if err != nil {
			return err
		}
		b.files = append(b.files, BackupFile{name, data})
	}
}

// fill reads and hashes len(p) bytes.
func (b *BackupReader) fill(p []byte) error {
	n, err := io.ReadFull(b.r, p)
	b.sum.Write(p[:n])
	b.read += uint64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends after %d bytes, in the middle: it was cut off, or its making was interrupted", ErrBackup, b.read)
	}
	return err
}

func (b *BackupReader) kind() error {
	var k [1]byte
	if err := b.fill(k[:]); err != nil {
		return err
	}
	b.pending = k[0]
	return nil
}

// record reads a name or key and what belongs to it. Both lengths are bounded before
// anything is allocated.
func (b *BackupReader) record() (name string, data []byte, err error) {
	var h [4]byte
	if err := b.fill(h[:2]); err != nil {
		return "", nil, err
	}
	n := binary.BigEndian.Uint16(h[:])
	if n == 0 || n > MaxKey {
		return "", nil, b.damaged("a key of %d bytes", n)
	}
	key := make([]byte, n)
	if err := b.fill(key); err != nil {
		return "", nil, err
	}
	if err := b.fill(h[:]); err != nil {
		return "", nil, err
	}
	m := binary.BigEndian.Uint32(h[:])
	if m > MaxValue {
		return "", nil, b.damaged("a value of %d bytes", m)
	}
	data = make([]byte, m)
	return string(key), data, b.fill(data)
}

func (b *BackupReader) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s before byte %d: it was altered or damaged", ErrBackup, fmt.Sprintf(format, args...), b.read)
}

// next returns the next key with its value, and false at the end, when the stream has
// been found whole.
func (b *BackupReader) next() (Item, bool, error) {
	switch b.pending {
	case recordKey:
	case recordLarge: // no key follows
		return Item{}, false, nil
	case recordEnd:
		return Item{}, false, b.end()
	default:
		return Item{}, false, b.damaged("a record of the unknown kind %#x", b.pending)
	}
	name, value, err := b.record()
	if err != nil {
		return Item{}, false, err
	}
	k := Key{name}
	if name <= b.last {
		return Item{}, false, b.damaged("keys out of order")
	}
	if !inBackup(k) {
		return Item{}, false, b.damaged("a key that begins with %#x, which no backup of this version holds,", name[0])
	}
	if name[0] == prefixRoomHead {
		if _, err := ParseRoomHead(k); err != nil {
			return Item{}, false, b.damaged("a room head of another form")
		}
		b.info.Rooms++
	}
	b.last = name
	b.info.Keys++
	return Item{k, value}, true, b.kind()
}

// largeFiles hands out the large files, which follow the keys, and then finds the stream
// whole. What take leaves of a file is skipped.
func (b *BackupReader) largeFiles(take func(name string, size int64, r io.Reader) error) error {
	for b.pending == recordLarge {
		var h [8]byte
		if err := b.fill(h[:2]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint16(h[:])
		if n == 0 || n > MaxKey {
			return b.damaged("a name of %d bytes", n)
		}
		name := make([]byte, n)
		if err := b.fill(name); err != nil {
			return err
		}
		if err := b.fill(h[:]); err != nil {
			return err
		}
		size := binary.BigEndian.Uint64(h[:])
		if size > MaxLarge {
			return b.damaged("a file of %d bytes", size)
		}
		if string(name) <= b.lastLarge {
			return b.damaged("files out of order")
		}
		b.lastLarge = string(name)
		body := &largeBody{b, int64(size)}
		if take != nil {
			if err := take(string(name), int64(size), body); err != nil {
				return fmt.Errorf("file %.100q: %w", name, err)
			}
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return err
		}
		b.info.Large++
		if err := b.kind(); err != nil {
			return err
		}
		if b.pending == recordEnd {
			return b.end()
		}
	}
	if b.pending != recordEnd {
		return b.damaged("a record of the kind %#x after the files", b.pending)
	}
	return nil
}

// largeBody is the contents of a large file.
type largeBody struct {
	b    *BackupReader
	left int64
}

func (l *largeBody) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), l.left)]
	n, err := l.b.r.Read(p)
	l.b.sum.Write(p[:n])
	l.b.read += uint64(n)
	l.left -= int64(n)
	if errors.Is(err, io.EOF) && l.left > 0 {
		return n, fmt.Errorf("%w: it ends after %d bytes, in the middle: it was cut off, or its making was interrupted", ErrBackup, l.b.read)
	}
	return n, err
}

func (b *BackupReader) end() error {
	var h [8]byte
	if err := b.fill(h[:]); err != nil {
		return err
	}
	want := [sha256.Size]byte(b.sum.Sum(nil))
	var sum [sha256.Size]byte
	if err := b.fill(sum[:]); err != nil {
		return err
	}
	if sum != want {
		return fmt.Errorf("%w: its checksum is wrong: it was altered or damaged", ErrBackup)
	}
	if n := binary.BigEndian.Uint64(h[:]); n != b.info.Keys {
		return fmt.Errorf("%w: %d keys, and it says %d", ErrBackup, b.info.Keys, n)
	}
	switch _, err := b.r.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows its end", ErrBackup)
	case !errors.Is(err, io.EOF):
		return err
	}
	b.info.Bytes = b.read
	return nil
}

// Restore makes the store that o names from the rest of the backup. Call it once. The
// directory must not exist yet. The store is closed when Restore returns, and whole; or
// there was an error, and then Open refuses what is there with ErrUnfinished. progress,
// if not nil, is called now and then with the bytes read so far.
//
// The crash argument: the first commit writes the mark of an unfinished store, and the
// last one, after the stream was found whole, takes it away. In between, keys are there
// by halves, but no Open comes past the mark. A crash before the first commit leaves an
// empty store or none.
//
// Errors: ErrBackup, ErrFormat, ErrExists, ErrTooLarge (o.Small, and the backup is of a
// store without it), those of Open and Update, those of the stream.
func (b *BackupReader) Restore(ctx context.Context, o Options, progress func(bytes uint64)) (*BackupInfo, error) {
	return b.RestoreWith(ctx, o, nil, progress)
}

// RestoreWith is Restore that hands the large files to take, in the order of their names,
// after all keys. take makes what it writes durable. An error of it ends the restoring.
func (b *BackupReader) RestoreWith(ctx context.Context, o Options, take func(name string, size int64, r io.Reader) error, progress func(bytes uint64)) (*BackupInfo, error) {
	if b.restored {
		panic("store: a BackupReader restores once")
	}
	b.restored = true
	if o.Dir != "" && exists(o.Dir) {
		return nil, fmt.Errorf("restoring: %w: %s", ErrExists, o.Dir)
	}
	s, err := Open(o)
	if err != nil {
		return nil, fmt.Errorf("restoring: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(run) }()
	err = b.load(ctx, s, take, progress)
	stop()
	err = errors.Join(err, <-ended, s.Close(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, fmt.Errorf("restoring: %w", err)
	}
	info := b.info
	return &info, nil
}

func (b *BackupReader) load(ctx context.Context, s *Store, take func(string, int64, io.Reader) error, progress func(uint64)) error {
	mark := Restored{time.Now(), b.info.ID}.bytes()
	put := func(items []Item) error {
		return s.Update(ctx, func(tx *Tx) error {
			for _, it := range items {
				if err := tx.Set(it.Key, it.Value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := put([]Item{{unfinishedKey, mark}}); err != nil {
		return err
	}
	var items []Item
	var size int64
	add := func(it Item) error {
		cost := write{value: it.Value}.cost(it.Key)
		if len(items) > 0 && (size+cost > s.maxSize || len(items) >= s.maxKeys) {
			if err := put(items); err != nil {
				return err
			}
			items, size = items[:0], 0
			if progress != nil {
				progress(b.read)
			}
		}
		items, size = append(items, it), size+cost
		return nil
	}
	for {
		it, some, err := b.next()
		if err != nil {
			return err
		}
		if !some {
			break
		}
		if err := add(it); err != nil {
			return err
		}
		if id, err := ParseRoomHead(it.Key); err == nil {
			if err := add(Item{SpaceRestored.Key(id[:]), mark}); err != nil {
				return err
			}
		}
	}
	if err := put(items); err != nil {
		return err
	}
	if err := b.largeFiles(take); err != nil {
		return err
	}
	return s.Update(ctx, func(tx *Tx) error {
		return errors.Join(tx.Set(restoredKey, mark), tx.Delete(unfinishedKey))
	})
}
