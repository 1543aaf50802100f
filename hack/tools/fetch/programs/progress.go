package programs

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress prints in one line what has been done and what remains. On a terminal it rewrites the line, elsewhere it
// prints the line again every so often. If there is nothing to wait for, it prints nothing.
type Progress struct {
	out      io.Writer
	terminal bool
	every    time.Duration
	now      func() time.Time

	mu        sync.Mutex
	started   time.Time
	shown     bool // The cursor is at the end of a line that may be rewritten.
	total     int
	ready     int
	modules   int
	downloads map[string][2]int64
	weights   map[string]int64 // of packages that are not compiled yet
	planTotal int64
	compiled  int64
	packages  int
	current   string
	first     time.Time // when compiling began
	stop      chan struct{}
	stopped   sync.WaitGroup
}

// NewProgress prints to out until Close: every second on a terminal, otherwise every ten.
func NewProgress(out io.Writer, terminal bool) *Progress {
	p := &Progress{out: out, terminal: terminal, every: 10 * time.Second, now: time.Now,
		downloads: map[string][2]int64{}, weights: map[string]int64{}, stop: make(chan struct{})}
	if terminal {
		p.every = time.Second
	}
	p.started = p.now()
	p.stopped.Go(p.run)
	return p
}

func (p *Progress) run() {
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.show(p.line())
			p.mu.Unlock()
		}
	}
}

// Close ends the printing.
func (p *Progress) Close() {
	close(p.stop)
	p.stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}

// Note prints a line that stays.
func (p *Progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	_, _ = fmt.Fprintln(p.out, "set-up: "+fmt.Sprintf(format, args...))
}

// Ready records that a program is ready, and where it came from.
func (p *Progress) Ready(name, from string) {
	p.mu.Lock()
	p.ready++
	p.mu.Unlock()
	p.Note("%s is ready (%s)", name, from)
}

func (p *Progress) expect(total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = total
}

func (p *Progress) module() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.modules++
}

func (p *Progress) downloading(name string, got, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.downloads[name] = [2]int64{got, max(got, size)}
}

func (p *Progress) planned(pkg string, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.weights[pkg]; !known {
		p.weights[pkg] = size
		p.planTotal += size
	}
}

func (p *Progress) compiling(pkg string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first.IsZero() {
		p.first = p.now()
	}
	p.packages++
	p.current = pkg
	if size, planned := p.weights[pkg]; planned {
		p.compiled += size
		p.weights[pkg] = 0 // A package that is compiled a second time has been counted.
	}
}

// line returns the line to print, or nothing.
func (p *Progress) line() string {
	var parts []string
	if p.total > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d programs ready", p.ready, p.total))
	}
	var got, size int64
	for _, download := range p.downloads {
		got, size = got+download[0], size+download[1]
	}
	if got < size {
		parts = append(parts, fmt.Sprintf("%d of %d MB downloaded", got>>20, size>>20))
	}
	if p.modules > 0 && p.packages == 0 {
		parts = append(parts, fmt.Sprintf("%d Go modules downloaded", p.modules))
	}
	if p.packages > 0 {
		done := fmt.Sprintf("%d packages compiled", p.packages)
		if p.meaningful() {
			done += fmt.Sprintf(", %d%%", 100*p.compiled/p.planTotal)
		}
		parts = append(parts, done+", now "+p.current)
		if left := p.left(); left > 0 {
			parts = append(parts, "about "+rounded(left)+" left")
		}
	}
	if len(parts) == 0 {
		return ""
	}
	if p.packages == 0 && p.ready == p.total && got == size {
		parts = append(parts, "now this project's own")
	}
	return "set-up: " + strings.Join(parts, "; ") + fmt.Sprintf(" (%s so far)", p.now().Sub(p.started).Round(time.Second))
}

// meaningful reports whether enough has been compiled to estimate the rest. The plan contains all packages, but Go
// doesn't compile those in its cache: if only a few are new, their share says nothing about the rest.
func (p *Progress) meaningful() bool { return p.compiled > 0 && 20*p.compiled >= p.planTotal }

// left returns how long compiling will take at the speed so far.
func (p *Progress) left() time.Duration {
	spent := p.now().Sub(p.first)
	if !p.meaningful() || spent < 10*time.Second {
		return 0
	}
	return time.Duration(float64(spent) * float64(p.planTotal-p.compiled) / float64(p.compiled))
}

// rounded returns a duration as people would say it.
func rounded(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%d s", 10*int(d.Seconds()/10+1))
	}
	return fmt.Sprintf("%d min", int(d.Minutes()+0.5))
}

func (p *Progress) show(line string) {
	if line == "" {
		return
	}
	if !p.terminal {
		_, _ = fmt.Fprintln(p.out, line)
		return
	}
	const width = 118 // A line that wraps can't be rewritten.
	if runes := []rune(line); len(runes) > width {
		line = string(runes[:width-1]) + "…"
	}
	p.erase()
	_, _ = fmt.Fprint(p.out, line)
	p.shown = true
}

func (p *Progress) erase() {
	if p.shown {
		_, _ = fmt.Fprint(p.out, "\r\x1b[K")
	}
	p.shown = false
}
