package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const (
	// firstEntries is how many bytes must be free for an audit log to be begun: what is written at a time, about.
	firstEntries = 64 << 10
	// keepSize is FALLOC_FL_KEEP_SIZE: nothing that reads the file sees a difference.
	keepSize = 1
)

// reserve has the file system set room aside for what will be appended. The error says if there is none.
func reserve(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() {
		err = syscall.Fallocate(int(file.Fd()), keepSize, info.Size(), firstEntries)
	} else {
		_, err = syscall.Write(int(file.Fd()), nil)
	}
	// Not every file system can; those show it when the first entry is written.
	if err == nil || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return &fs.PathError{Op: "write", Path: file.Name(), Err: err}
}
