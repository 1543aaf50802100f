package programs

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// unpack copies one member of an archive to a new file.
func unpack(archive, name, member, to string) (err error) {
	file, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(to))
		}
	}()
	if strings.HasSuffix(name, ".whl") {
		return unzip(archive, member, file)
	}
	return untar(archive, member, file)
}

func unzip(archive, member string, to io.Writer) error {
	reader, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer reader.Close() //nolint:errcheck // Nothing was written.
	content, err := reader.Open(member)
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // Nothing was written.
	_, err = io.Copy(to, content)
	return err
}

func untar(archive, member string, to io.Writer) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // Nothing was written.
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the archive has no %s", member)
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg && (header.Name == member || path.Base(header.Name) == member) {
			_, err = io.Copy(to, reader)
			return err
		}
	}
}
