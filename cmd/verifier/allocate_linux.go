package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	// firstEntries is how many bytes must be free at the start: about as many as are written at a time.
	firstEntries = 64 << 10
	// keepSize is FALLOC_FL_KEEP_SIZE: the file's size does not change.
	keepSize = 1
)

// allocate allocates space for the first entries. It returns an error if there is none.
func allocate(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		err = syscall.Fallocate(int(file.Fd()), keepSize, info.Size(), firstEntries)
	} else {
		_, err = syscall.Write(int(file.Fd()), nil)
	}
	// Some file systems can't. With these, a full disk shows when the first entry is written.
	if err == nil || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return &fs.PathError{Op: "write", Path: file.Name(), Err: err}
}
