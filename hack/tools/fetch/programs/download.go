package programs

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	// Timeout is how long a host may take to connect, to begin to answer, and then for each chunk. A refusal or a hang
	// costs no more than this.
	Timeout = 5 * time.Second
	// chunk is so small that a host which takes longer than Timeout for it is too slow to use.
	chunk = 64 << 10
	// tooLarge ends an answer that is larger than any archive in the table.
	tooLarge = 2 << 30
)

// errStalled ends a download that makes no progress.
var errStalled = errors.New("it hangs")

// errDiffers means that a download was thrown away.
var errDiffers = errors.New("its checksum is not the pinned one")

// downloader downloads archives to a folder. The next run continues a download that was interrupted.
type downloader struct {
	client  *http.Client
	dir     string
	index   string // The Python package index.
	timeout time.Duration
	report  func(name string, got, size int64)

	mu       sync.Mutex
	avoided  map[string]error                  // by host: it has refused or hung in this run
	archives map[string]func() (string, error) // by name and checksum
}

// archive returns the path of a file of a download, whole and checked. Programs that share an archive share its
// download.
func (d *downloader) archive(ctx context.Context, from Download, file File) (string, error) {
	d.mu.Lock()
	once, ok := d.archives[file.Name+file.Sum]
	if !ok {
		once = sync.OnceValues(func() (string, error) { return d.fetch(ctx, from, file) })
		d.archives[file.Name+file.Sum] = once
	}
	d.mu.Unlock()
	return once()
}

func (d *downloader) fetch(ctx context.Context, from Download, file File) (string, error) {
	target := filepath.Join(d.dir, partName(file.Sum))
	if check(target, file.Sum) == nil {
		return target, nil
	}
	address := file.Name
	if from.Project != "" {
		var err error
		if address, err = d.locate(ctx, from.Project, file); err != nil {
			return "", err
		}
	}
	part := target + ".part"
	for {
		resumed, err := d.extend(ctx, address, part, from.From)
		if err != nil {
			return "", err
		}
		err = check(part, file.Sum)
		if err == nil {
			return target, os.Rename(part, target)
		}
		if removeErr := os.Remove(part); removeErr != nil {
			return "", errors.Join(err, removeErr)
		}
		if !resumed { // What an earlier run has left may be to blame, so that is tried once without it.
			return "", fmt.Errorf("%s: %w", address, err)
		}
	}
}

// extend adds to a file what it lacks of the content at an address, and reports whether it held anything before.
func (d *downloader) extend(ctx context.Context, address, path, name string) (resumed bool, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	held, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	header := http.Header{}
	if held > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", held))
	}
	err = d.get(ctx, address, header, func(response *http.Response, body io.Reader) error {
		switch {
		case response.StatusCode == http.StatusRequestedRangeNotSatisfiable && held > 0:
			return nil // There is nothing more.
		case response.StatusCode == http.StatusPartialContent &&
			strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", held)):
		case response.StatusCode == http.StatusOK:
			if held, err = 0, file.Truncate(0); err != nil {
				return err
			}
			if _, err = file.Seek(0, io.SeekStart); err != nil {
				return err
			}
		default:
			return refusal(response)
		}
		size := held + max(response.ContentLength, 0)
		_, err := io.Copy(file, &counted{Reader: body, got: held, each: func(got int64) { d.report(name, got, size) }})
		return err
	})
	return held > 0, err
}

// counted is a reader that reports how much it has read so far.
type counted struct {
	io.Reader
	got  int64
	each func(int64)
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.got += int64(n); c.got > tooLarge {
		return n, errors.New("it is larger than any archive in the table")
	}
	c.each(c.got)
	return n, err
}

// refused is the error for an answer without the file.
type refused struct{ status string }

func (r refused) Error() string { return "the answer is " + r.status }

func refusal(response *http.Response) error { return refused{response.Status} }

// get sends a request to a host, unless the host has failed in this run. It gives up on a host that refuses or hangs.
func (d *downloader) get(ctx context.Context, address string, header http.Header,
	use func(*http.Response, io.Reader) error) error {
	parsed, err := url.Parse(address)
	if err != nil {
		return err
	}
	d.mu.Lock()
	err = d.avoided[parsed.Host]
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s is not asked again: %w", parsed.Host, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	request.Header = header
	if err = d.exchange(request, use); err == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() == nil {
		d.avoided[parsed.Host] = err
	}
	return fmt.Errorf("%s: %w", parsed.Host, err)
}

// exchange sends a request, and ends it if the connection, the answer or a chunk of it takes longer than the timeout.
func (d *downloader) exchange(request *http.Request, use func(*http.Response, io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(request.Context())
	defer cancel(nil)
	watchdog := time.AfterFunc(d.timeout, func() { cancel(errStalled) })
	defer watchdog.Stop()
	cause := func(err error) error {
		if stall := context.Cause(ctx); err != nil && stall != nil {
			return stall
		}
		return err
	}
	response, err := d.client.Do(request.WithContext(ctx))
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok { // Its text repeats the address.
			err = wrapped.Err
		}
		return cause(err)
	}
	defer response.Body.Close() //nolint:errcheck // All that counts has been read, or can't be.
	last := int64(0)
	return cause(use(response, &counted{Reader: response.Body, each: func(got int64) {
		if got-last >= chunk {
			last = got
			watchdog.Reset(d.timeout)
		}
	}}))
}

// check returns an error if a file is missing, or has another checksum.
func check(path, sum string) error {
	algorithm, want, _ := strings.Cut(sum, ":")
	var digest hash.Hash
	switch algorithm {
	case "sha256":
		digest = sha256.New()
	case "sha512":
		digest = sha512.New()
	default:
		return fmt.Errorf("no algorithm %q", algorithm)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // Nothing was written.
	if _, err := io.Copy(digest, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != want {
		return fmt.Errorf("%w: %s", errDiffers, got)
	}
	return nil
}

// partName is the name of an archive in the folder of downloads.
func partName(sum string) string { return strings.ReplaceAll(sum, ":", "-") }
