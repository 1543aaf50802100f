package programs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Bringer brings programs into a folder bin.
type Bringer struct {
	// Top is the folder of the checkout, and Bin where programs are kept.
	Top, Bin string
	// Ldflags are the linker flags of this project's programs.
	Ldflags string
	// Download reports whether anything except Go modules may be downloaded.
	Download bool
	Progress *Progress

	said sync.Map // notes
}

// Bring makes sure that programs are in bin, and that this project's own programs are up to date. Downloads run side by
// side, while this project's programs are built. Programs that can't be downloaded are built afterwards.
func (b *Bringer) Bring(ctx context.Context, own []Own, wanted []Program) error {
	unlock, err := b.lock()
	if err != nil {
		return err
	}
	defer unlock()
	var missing []Program
	for _, p := range wanted {
		if !p.Present(b.Bin) {
			missing = append(missing, p)
		}
	}
	b.Progress.expect(len(missing))
	build := &builder{top: b.Top, bin: b.Bin, ldflags: b.Ldflags, progress: b.Progress}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	ours := make(chan error, 1)
	go func() { ours <- b.own(ctx, build, own, len(missing) > 0) }()
	left, err := b.download(ctx, missing)
	left, lacking := b.separate(left)
	if err == nil && len(left) > 0 {
		// Modules are downloaded while this project's programs are compiled. If that fails, the build reports why.
		_ = b.plan(ctx, build, left)
	}
	if err = errors.Join(err, <-ours); err != nil {
		return err
	}
	return errors.Join(build.modules(ctx, left), lacking)
}

// separate returns the programs that can be built, and an error that names the others with the reason why they can't be
// downloaded.
func (b *Bringer) separate(left []Program) (buildable []Program, lacking error) {
	for _, p := range left {
		if p.buildable() {
			buildable = append(buildable, p)
			continue
		}
		why := "no download succeeded"
		switch {
		case p.HowBrought() == "":
			why = "there is no download for " + platform()
		case !b.Download:
			why = "FETCH_DOWNLOAD=no forbids downloads"
		}
		lacking = errors.Join(lacking, fmt.Errorf(
			"%s %s is not available here: there is no Go module to build it from, and %s", p.Name, p.Version, why))
	}
	return buildable, lacking
}

func (b *Bringer) own(ctx context.Context, build *builder, own []Own, cold bool) error {
	if cold { // Computing the numbers takes a second, which is worthwhile only if there is something to wait for.
		packages := make([]string, len(own))
		for i, o := range own {
			packages[i] = o.Package
		}
		if len(own) > 0 {
			_ = build.plan(ctx, b.Top, packages...) // If this fails, the build reports why.
		}
	}
	var errs []error
	for _, o := range own {
		errs = append(errs, build.own(ctx, o))
	}
	return errors.Join(errs...)
}

func (b *Bringer) plan(ctx context.Context, build *builder, all []Program) error {
	byDir := map[string][]string{}
	for _, p := range all {
		byDir[p.Module.Dir] = append(byDir[p.Module.Dir], p.Module.Package)
	}
	var errs []error
	for dir, packages := range byDir {
		errs = append(errs, build.plan(ctx, filepath.Join(b.Top, dir), packages...))
	}
	return errors.Join(errs...)
}

// download downloads programs, and returns those that it could not. It returns an error only if files can't be written.
func (b *Bringer) download(ctx context.Context, missing []Program) ([]Program, error) {
	if !b.Download {
		return missing, os.MkdirAll(b.Bin, 0o755)
	}
	dir := filepath.Join(b.Bin, ".downloads")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	d := newDownloader(dir, pythonIndex(), b.Progress)
	done := make([]bool, len(missing))
	var all sync.WaitGroup
	for i, p := range missing {
		all.Go(func() { done[i] = b.tryDownloads(ctx, d, p) })
	}
	all.Wait()
	var left []Program
	for i, p := range missing {
		if !done[i] {
			left = append(left, p)
		}
	}
	return left, errors.Join(ctx.Err(), d.clean())
}

func newDownloader(dir, index string, progress *Progress) *downloader {
	return &downloader{
		client: &http.Client{}, dir: dir, index: index, timeout: Timeout, report: progress.downloading,
		avoided: map[string]error{}, archives: map[string]func() (string, error){},
	}
}

// tryDownloads takes a program from the first of its downloads that works, and reports why the ones before it don't.
func (b *Bringer) tryDownloads(ctx context.Context, d *downloader, p Program) bool {
	for _, from := range p.Downloads {
		file, ok := from.Files[platform()]
		if !ok {
			continue
		}
		err := b.downloadOne(ctx, d, p, from, file)
		if err == nil {
			b.Progress.Ready(p.Name, from.From)
			return true
		}
		why := fmt.Sprintf("no download of %s (%s)", from.From, err)
		if _, said := b.said.LoadOrStore(why, true); !said { // Several programs may be in one archive.
			b.Progress.Note("%s", why)
		}
	}
	return false
}

func (b *Bringer) downloadOne(ctx context.Context, d *downloader, p Program, from Download, file File) error {
	archive, err := d.archive(ctx, from, file)
	if err != nil {
		return err
	}
	whole := filepath.Join(d.dir, p.Name+".new")
	if err := unpack(archive, file.Name, file.Member, whole); err != nil {
		return err
	}
	return p.install(b.Bin, whole, from.From)
}

// clean removes the archives that were downloaded completely and unpacked.
func (d *downloader) clean() error {
	whole, err := filepath.Glob(filepath.Join(d.dir, "sha*"))
	if err != nil {
		return err
	}
	for _, path := range whole {
		if filepath.Ext(path) != ".part" {
			err = errors.Join(err, os.Remove(path))
		}
	}
	_ = os.Remove(d.dir) // The folder stays if a download in it can be continued.
	return err
}

// lock waits until no other process brings programs into the same folder.
func (b *Bringer) lock() (unlock func(), err error) {
	if err := os.MkdirAll(b.Bin, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(b.Bin, ".fetch.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		b.Progress.Note("another make brings programs into %s: waiting for it", b.Bin)
		if err := syscall.Flock(int(file.Fd()), how); err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", file.Name(), err), file.Close())
		}
	}
	return func() { _ = file.Close() }, nil // Closing the file releases the lock.
}
