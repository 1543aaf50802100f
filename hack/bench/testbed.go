package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// testbed is what one benchmark uses: its own control plane, if it asks for one, and the processes that it starts.
type testbed struct {
	bin     string
	scale   float64
	results *resultList
	cp      *controlplane.ControlPlane
	// running has the processes to stop, the last one first.
	running []*process
	// dir is the folder for files, once one is needed.
	dir string
}

// times scales a number of keys or rounds.
func (bed *testbed) times(n int) int { return max(int(float64(n)*bed.scale), 3) }

// install starts a control plane with everything of the installation except the processes.
func (bed *testbed) install(ctx context.Context) error {
	var err error
	options := controlplane.Options{
		APIServerArgs: map[string]string{"request-timeout": "5m"},
		SaveMemory:    true, // What is measured is how it runs elsewhere.
	}
	if bed.cp, err = controlplane.Start(options); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"apply", "-k", controlplane.Root() + "/config/rbac"},
		{"apply", "-k", controlplane.Root() + "/config/policy"},
		{"apply", "-f", controlplane.Root() + "/config/verifier/canary.yaml"},
	} {
		if _, err := bed.cp.RunKubectl(ctx, args...); err != nil {
			return err
		}
	}
	return bed.cp.Client.Create(ctx, fixture.Policy("nexuscommerce"))
}

func (bed *testbed) close() error {
	var errs []error
	for len(bed.running) > 0 {
		errs = append(errs, bed.stop(bed.running[len(bed.running)-1]))
	}
	if bed.cp != nil {
		errs = append(errs, bed.cp.Stop())
	}
	if bed.dir != "" {
		errs = append(errs, os.RemoveAll(bed.dir))
	}
	return errors.Join(errs...)
}

// scratch returns a folder for files, which is removed with the testbed.
func (bed *testbed) scratch() (string, error) {
	var err error
	if bed.dir == "" {
		bed.dir, err = os.MkdirTemp("", "bench-")
	}
	return bed.dir, err
}

// process is a controller, a verifier, or a server that one is compared with.
type process struct {
	command *exec.Cmd
	started time.Time
	log     bytes.Buffer
	// address is where it answers proxies over HTTP, grpc over gRPC; health and metrics are its other addresses.
	address, grpc, health, metrics string
}

func (bed *testbed) controller(ctx context.Context) (*process, error) {
	return bed.start(ctx, "apikey-controller", "--leader-elect=false")
}

// verifier starts a verifier with a name.
func (bed *testbed) verifier(ctx context.Context, name string, args ...string) (*process, error) {
	address, err := program.Address(ctx)
	if err != nil {
		return nil, err
	}
	overGRPC, err := program.Address(ctx)
	if err != nil {
		return nil, err
	}
	p, err := bed.start(ctx, "apikey-verifier", append(args, "--name="+name,
		"--http-bind-address="+address, "--grpc-bind-address="+overGRPC, "--insecure-plain-text")...)
	if err == nil {
		p.address = address
	}
	return p, err
}

// verifiers starts several verifiers, and waits until all are ready.
func (bed *testbed) verifiers(ctx context.Context, n int) ([]*process, error) {
	all := make([]*process, n)
	for i := range all {
		var err error
		if all[i], err = bed.verifier(ctx, fmt.Sprintf("verifier-%d", i)); err != nil {
			return nil, err
		}
	}
	for _, v := range all {
		if err := v.ready(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (bed *testbed) start(ctx context.Context, name string, args ...string) (*process, error) {
	kubeconfig, err := bed.cp.ServiceAccountKubeconfig(name)
	if err != nil {
		return nil, err
	}
	p := &process{}
	for _, address := range []*string{&p.health, &p.metrics} {
		if *address, err = program.Address(ctx); err != nil {
			return nil, err
		}
	}
	p.command = exec.CommandContext(ctx, filepath.Join(bed.bin, name), append(args,
		"--kubeconfig="+kubeconfig, "--health-probe-bind-address="+p.health, "--metrics-bind-address="+p.metrics)...)
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	p.started = time.Now()
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("%w: make bench builds it", err)
	}
	bed.running = append(bed.running, p)
	return p, nil
}

// stop ends a process in an orderly way.
func (bed *testbed) stop(p *process) error {
	for i := range bed.running {
		if bed.running[i] == p {
			bed.running = append(bed.running[:i], bed.running[i+1:]...)
			break
		}
	}
	_ = p.command.Process.Signal(syscall.SIGTERM) // It may have ended already.
	kill := time.AfterFunc(30*time.Second, func() { _ = p.command.Process.Kill() })
	defer kill.Stop()
	if err := p.command.Wait(); err != nil && p.command.ProcessState.ExitCode() > 0 {
		return fmt.Errorf("%s: %w: %s", filepath.Base(p.command.Path), err, tail(p.log.String()))
	}
	return nil
}

func tail(log string) string { return log[max(0, len(log)-2000):] }

// ready waits until a process reports that it is ready.
func (p *process) ready(ctx context.Context) error {
	return until(ctx, 5*time.Millisecond, func() bool {
		status, _, err := get(ctx, "http://"+p.health+"/readyz")
		return err == nil && status == http.StatusOK
	})
}

// cpu returns the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	// See proc(5). The command's name may contain spaces, and ends at the last parenthesis.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// metric returns the sum of all series whose line begins with a text.
func (p *process) metric(ctx context.Context, begins string) (float64, error) {
	_, page, err := get(ctx, "http://"+p.metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	return sumOf(page, begins)
}

// sumOf returns the sum of all series of a metrics page whose line begins with a text.
func sumOf(page, begins string) (sum float64, err error) {
	for text := range strings.Lines(page) {
		if strings.HasPrefix(text, begins) {
			value, err := strconv.ParseFloat(strings.TrimSpace(text[strings.LastIndexByte(text, ' ')+1:]), 64)
			if err != nil {
				return 0, err
			}
			sum += value
		}
	}
	return sum, nil
}

// idle waits until a controller has had nothing to do for a while.
func (p *process) idle(ctx context.Context) error {
	quiet := 0
	return until(ctx, 250*time.Millisecond, func() bool {
		depth, err := p.metric(ctx, "workqueue_depth{")
		if err != nil || depth > 0 {
			quiet = 0
			return false
		}
		workers, err := p.metric(ctx, "controller_runtime_active_workers{")
		quiet++
		if err != nil || workers > 0 {
			quiet = 0
		}
		return quiet > 8
	})
}

func until(ctx context.Context, every time.Duration, condition func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	return nil
}

func get(ctx context.Context, url string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}
