package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// servedKeys is how many keys a verifier has that is compared with a server that does nothing.
	servedKeys = 10_000
	// fewKeys and manyKeys are compared with each other. Of manyKeys, drawnKeys are used in requests.
	fewKeys   = 10
	manyKeys  = 1_000_000
	drawnKeys = 100_000
	// loadRounds alternate between the servers that are compared; in paceRounds all are measured at a time.
	loadRounds = 7
	paceRounds = 11
)

// serve starts a server on the server's processor: "verifier" with a number of keys, or "none".
func (bed *testbed) serve(ctx context.Context, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{}
	if p.command, err = on(ctx, serverCore, self, append([]string{serveArgument}, args...)...); err != nil {
		return nil, err
	}
	p.command.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.command.Stderr = &p.log
	said, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.started = time.Now()
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	bed.running = append(bed.running, p)
	first, err := bufio.NewReader(said).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("starting a server to measure: %w: %s", err, tail(p.log.String()))
	}
	var where served
	err = json.Unmarshal(first, &where)
	p.address, p.grpc = where.HTTP, where.GRPC
	return p, err
}

// pair starts a verifier and the server that it is compared with, and creates a folder for the load generator's files.
func (bed *testbed) pair(ctx context.Context) (dir string, own, none *process, err error) {
	if dir, err = bed.scratch(); err != nil {
		return "", nil, nil, err
	}
	if own, err = bed.serve(ctx, "verifier", strconv.Itoa(servedKeys)); err != nil {
		return "", nil, nil, err
	}
	none, err = bed.serve(ctx, "none")
	return dir, own, none, err
}

// contender is one of several servers that are compared.
type contender struct {
	measure func() (samples, error)
	// seen has the values of each round, for each thing that is measured.
	seen []samples
}

// alternate measures contenders round by round, in an order that is reversed each time. The first round of each does
// not count: connections, buffers and the heap grow to their final size.
func alternate(rounds int, contenders ...*contender) error {
	for round := range rounds + 1 {
		for i := range contenders {
			c := contenders[i]
			if round%2 == 1 {
				c = contenders[len(contenders)-1-i]
			}
			if err := c.round(round); err != nil {
				return err
			}
		}
	}
	return nil
}

// abreast measures contenders at the same time, round by round. None of them uses much of the processor, and what
// delays the machine delays all of them.
func abreast(rounds int, contenders ...*contender) error {
	for round := range rounds + 1 {
		errs := make([]error, len(contenders))
		var group sync.WaitGroup
		for i, c := range contenders {
			group.Go(func() { errs[i] = c.round(round) })
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// round measures once.
func (c *contender) round(round int) error {
	values, err := c.measure()
	if err != nil {
		return err
	}
	if round == 0 {
		c.seen = make([]samples, len(values))
		return nil
	}
	for i, value := range values {
		c.seen[i] = append(c.seen[i], value)
	}
	return nil
}

// beside adds a figure, in microseconds, that compares the i-th value of a contender with that of another, in the round
// with the median ratio. The machine is faster or slower for seconds at a time, and so affects both.
func (c *contender) beside(results *resultList, other *contender, i int, name string, most float64) {
	own, others := c.seen[i], other.seen[i]
	results.add(inTurns(name, "µs", fmt.Sprintf("≤ %.2f", most), own, others, atMost(most)))
}

// middle returns two values of the round in which their ratio is the median.
func middle(own, others samples) (value, baseline float64) {
	rounds := make([]int, len(own))
	for i := range rounds {
		rounds[i] = i
	}
	slices.SortFunc(rounds, func(a, b int) int { return cmp.Compare(own[a]*others[b], own[b]*others[a]) })
	round := rounds[len(rounds)/2]
	return own[round], others[round]
}

// asking returns a contender whose processor time is measured at /auth/nginx.
func (bed *testbed) asking(ctx context.Context, p *process, who wrkClients) *contender {
	return &contender{measure: func() (samples, error) {
		perRequest, err := cost(func() (answers, error) {
			return bed.overHTTP(ctx, "http://"+p.address+"/auth/nginx", who, httpConnections)
		}, p)
		return samples{perRequest}, err
	}}
}

// pacing returns a contender whose latency is measured at /auth/nginx, at 1,000 requests per second.
func (bed *testbed) pacing(ctx context.Context, p *process, who wrkClients) *contender {
	return &contender{measure: func() (samples, error) {
		a, err := bed.overHTTP(ctx, "http://"+p.address+"/auth/nginx", who, pacedConnections, pacedRest)
		return samples{a.P50, a.P99}, err
	}}
}

// httpLoad measures the processor time of a request over HTTP.
func httpLoad(ctx context.Context, bed *testbed) error {
	dir, own, none, err := bed.pair(ctx)
	if err != nil {
		return err
	}
	some := bed.times(servedKeys)
	var who [3]wrkClients
	for i, change := range []func(subject) subject{itself, unknown, malformed} {
		who[i] = wrkClients{file: filepath.Join(dir, strconv.Itoa(i)), passes: i == 0}
		if err := draw(who[i].file, some, servedKeys, change); err != nil {
			return err
		}
	}
	base := bed.asking(ctx, none, who[0])
	allow, miss, misspelt := bed.asking(ctx, own, who[0]), bed.asking(ctx, own, who[1]), bed.asking(ctx, own, who[2])
	if err := alternate(bed.times(loadRounds), base, allow, miss, misspelt); err != nil {
		return err
	}
	allow.beside(bed.results, base, 0, "http: CPU of a request that passes, by net/http's", 1.10)
	miss.beside(bed.results, base, 0, "http: CPU of an unknown token, by net/http's", 1.05)
	misspelt.beside(bed.results, base, 0, "http: CPU of a malformed token, by net/http's", 1.05)
	miss.beside(bed.results, allow, 0, "http: CPU of an unknown token, by one that passes", 1)
	misspelt.beside(bed.results, allow, 0, "http: CPU of a malformed token, by one that passes", 1)
	return nil
}

// latency measures the latency of a request at 1,000 per second.
func latency(ctx context.Context, bed *testbed) error {
	dir, own, none, err := bed.pair(ctx)
	if err != nil {
		return err
	}
	who := wrkClients{file: filepath.Join(dir, "clients"), passes: true}
	if err := draw(who.file, bed.times(servedKeys), servedKeys, itself); err != nil {
		return err
	}
	base, allow := bed.pacing(ctx, none, who), bed.pacing(ctx, own, who)
	if err := abreast(bed.times(paceRounds), base, allow); err != nil {
		return err
	}
	allow.beside(bed.results, base, 0, "latency: p50 at 1,000 requests/s, by net/http's", 1.1)
	allow.beside(bed.results, base, 1, "latency: p99 at 1,000 requests/s, by net/http's", 1.3)
	return nil
}

// million compares a request's costs with many keys with those with few.
func million(ctx context.Context, bed *testbed) error {
	dir, err := bed.scratch()
	if err != nil {
		return err
	}
	var load, pace [2]*contender
	for i, n := range []int{fewKeys, bed.times(manyKeys)} {
		p, err := bed.serve(ctx, "verifier", strconv.Itoa(n))
		if err != nil {
			return err
		}
		who := wrkClients{file: filepath.Join(dir, strconv.Itoa(n)), passes: true}
		if err := draw(who.file, min(drawnKeys, n), n, itself); err != nil {
			return err
		}
		load[i], pace[i] = bed.asking(ctx, p, who), bed.pacing(ctx, p, who)
	}
	if err := alternate(bed.times(loadRounds), load[:]...); err != nil {
		return err
	}
	if err := abreast(bed.times(paceRounds), pace[:]...); err != nil {
		return err
	}
	name := strconv.Itoa(bed.times(manyKeys)) + " keys, by 10"
	load[1].beside(bed.results, load[0], 0, "million: CPU of a request with "+name, 1.15)
	pace[1].beside(bed.results, pace[0], 1, "million: p99 at 1,000 requests/s with "+name, 1.3)
	return nil
}
