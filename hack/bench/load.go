package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const (
	// loadTime is the length of a round of load.
	loadTime = time.Second
	// httpConnections is how many connections a proxy keeps open under load.
	httpConnections = 16
	// grpcConnections is how many connections Envoy has, one for each of its workers; each carries grpcStreams requests
	// at a time.
	grpcConnections = 4
	grpcStreams     = 8
	// pacedConnections send about a hundred requests per second each, 1,000 in all.
	pacedConnections = 10
	pacedRest        = "10"
	// serverCore is the processor of the measured server, and loadCore that of the load generator.
	serverCore = "0"
	loadCore   = "1"
	// scriptSuffix is appended to the name of a file of clients: it names wrk's script for them.
	scriptSuffix = ".lua"
)

//go:embed load.lua
var loadScript []byte

// tools are the programs that generate load, and the Debian packages that contain them.
var tools = map[string]string{"wrk": "wrk", "h2load": "nghttp2-client", "nginx": "nginx-light", "taskset": "util-linux"}

// tool returns the path of a program that must be installed.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name) // On Debian it may not be in the PATH.
	}
	if err != nil {
		return "", fmt.Errorf("%s is missing: on Debian, apt-get install %s", name, tools[name])
	}
	return path, nil
}

// needTools returns an error that names the missing programs, or nil. Programs that generate load also need two
// processors.
func needTools(names []string) error {
	var missing, packages []string
	for _, name := range names {
		if _, err := tool(name); err != nil {
			missing, packages = append(missing, name), append(packages, tools[name])
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing: %s: on Debian, apt-get install %s", strings.Join(missing, " and "),
			strings.Join(packages, " "))
	}
	if len(names) > 0 && runtime.NumCPU() < 2 {
		return errors.New("with one processor, load and what is measured would compete for it")
	}
	return nil
}

// on returns a command that runs on one processor.
func on(ctx context.Context, core, name string, args ...string) (*exec.Cmd, error) {
	path, err := tool(name)
	if err != nil {
		return nil, err
	}
	pin, err := tool("taskset")
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, pin, append([]string{"-c", core, path}, args...)...), nil
}

// answers is the result of a round of load. Times are in microseconds.
type answers struct {
	Requests int     `json:"requests"`
	Refused  int     `json:"refused"`
	Lost     int     `json:"lost"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
}

// cost returns the processor time that processes spend during a round of load, in microseconds per request.
func cost(load func() (answers, error), processes ...*process) (float64, error) {
	used := func() (all time.Duration, err error) {
		for _, p := range processes {
			one, err := p.cpu()
			if err != nil {
				return 0, err
			}
			all += one
		}
		return all, nil
	}
	before, err := used()
	if err != nil {
		return 0, err
	}
	a, err := load()
	if err != nil {
		return 0, err
	}
	after, err := used()
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(time.Microsecond) / float64(a.Requests), nil
}

// wrkClients are the clients that wrk plays: a file of tenants and tokens.
type wrkClients struct {
	file string
	// passes reports whether their requests are allowed.
	passes bool
	// scheme is that of their credentials: Bearer if it is blank.
	scheme string
}

// overHTTP puts load on a URL for a second. With a rest, in milliseconds, connections pause
// between requests.
func (bed *testbed) overHTTP(ctx context.Context, url string, who wrkClients, connections int, rest ...string,
) (answers, error) {
	wrk, err := on(ctx, loadCore, "wrk",
		"--threads=1", "--connections="+strconv.Itoa(connections), "--duration=1s",
		"--script="+who.file+scriptSuffix, url, "--",
		who.file, fixture.Host, strings.Join(rest, ""), cmp.Or(who.scheme, "Bearer"))
	if err != nil {
		return answers{}, err
	}
	out, err := wrk.CombinedOutput()
	var a answers
	if at := bytes.LastIndexByte(out, '{'); err == nil && at >= 0 {
		err = json.Unmarshal(out[at:], &a)
	}
	if err != nil || a.Requests == 0 {
		return a, fmt.Errorf("wrk: %w: %s", err, out)
	}
	// The last request of each connection may be cut off by the end of the round.
	if wrong := a.Refused > 0; wrong == who.passes || !who.passes && a.Refused < a.Requests || a.Lost > 0 {
		return a, fmt.Errorf("wrk: of %d requests %d were refused and %d lost", a.Requests, a.Refused, a.Lost)
	}
	return a, nil
}

// overGRPC puts load on a server with one message, read from a file.
func (bed *testbed) overGRPC(ctx context.Context, address, message string, more ...string) (answers, error) {
	h2load, err := on(ctx, loadCore, "h2load", append([]string{
		"--threads=1", "--data=" + message, "--header=content-type: application/grpc", "--header=te: trailers",
		"http://" + address + "/envoy.service.auth.v3.Authorization/Check",
	}, more...)...)
	if err != nil {
		return answers{}, err
	}
	out, err := h2load.CombinedOutput()
	if err != nil {
		return answers{}, fmt.Errorf("h2load: %w: %s", err, out)
	}
	var a answers
	for text := range strings.Lines(string(out)) {
		var ignored int
		if _, err := fmt.Sscanf(text, "status codes: %d 2xx, %d 3xx", &a.Requests, &ignored); err == nil && a.Requests > 0 {
			return a, nil
		}
	}
	return a, fmt.Errorf("h2load: no figure in %s", out)
}
