package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The file ACKED beside Badger's files holds a lower bound of the commit numbers that
// have been acknowledged:
//
//	"mimid acked 1\n"   14 bytes
//	commit number       uint64, big-endian
//	CRC-32C             uint32, big-endian, of the 22 bytes before it
//
// It is overwritten in place after every fsync and before the acknowledgement, and is
// itself not synced. After SIGKILL it is exact, because the kernel has it; after a
// power cut it may be older. It can never be ahead of the data, because it is written
// after the data is on the disk. It exists because Badger drops a damaged tail of its
// logs without a word.
const (
	ackedName  = "ACKED"
	ackedMagic = "mimid acked 1\n"
	ackedLen   = len(ackedMagic) + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type ackedFile struct {
	f   *os.File
	buf [ackedLen]byte
}

// openAcked opens the file and returns its bound. fs.ErrNotExist is the answer for a
// new store, and for one whose operator has removed the file.
func openAcked(dir string) (*ackedFile, uint64, error) {
	f, err := os.OpenFile(filepath.Join(dir, ackedName), os.O_RDWR, 0)
	if err != nil {
		return nil, 0, err
	}
	a := &ackedFile{f: f}
	// One byte more, to see that there is none.
	var b [ackedLen + 1]byte
	n, err := io.ReadFull(f, b[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		f.Close()
		return nil, 0, fmt.Errorf("reading %s: %w", ackedName, err)
	}
	sum := ackedLen - 4
	if n != ackedLen || string(b[:len(ackedMagic)]) != ackedMagic ||
		crc32.Checksum(b[:sum], castagnoli) != binary.BigEndian.Uint32(b[sum:]) {
		f.Close()
		return nil, 0, fmt.Errorf("%w: the file %s is damaged", ErrCorrupted, ackedName)
	}
	return a, binary.BigEndian.Uint64(b[len(ackedMagic):]), nil
}

// createAcked makes the file appear whole or not at all: written and synced under
// another name, then renamed.
func createAcked(dir string, commit uint64) (*ackedFile, error) {
	path := filepath.Join(dir, ackedName)
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	a := &ackedFile{f: f}
	err = a.write(commit)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

func (a *ackedFile) write(commit uint64) error {
	b := append(a.buf[:0], ackedMagic...)
	b = binary.BigEndian.AppendUint64(b, commit)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := a.f.WriteAt(b, 0)
	return err
}

// close may be called on nil, which is what a store in memory has.
func (a *ackedFile) close() error {
	if a == nil {
		return nil
	}
	return a.f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// exists treats an error other than absence as presence: the caller will then meet
// the error itself.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
