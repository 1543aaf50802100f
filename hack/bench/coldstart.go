package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// coldKeys is the number of keys in the cluster in which a verifier and a controller start.
	coldKeys = 100_000
	// bareListArgument makes this command a process that lists all keys and does nothing else.
	bareListArgument = "bare-list"
)

// timing is how much time something took.
type timing struct {
	// Wall is in seconds, CPU in seconds of all threads.
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
	Keys int     `json:"keys"`
}

// coldStart compares a verifier's start with a bare list of the same keys, sends it requests with revoked keys all the
// while, and measures how much memory it and the controller use.
func coldStart(ctx context.Context, bed *testbed) error {
	f, people, err := bed.fill(ctx, bed.times(coldKeys))
	if err != nil {
		return err
	}
	name := func(what string) string { return fmt.Sprintf("cold start with %d keys: %s", f.Keys, what) }
	if err := bed.startVerifiers(ctx, people, filledRounds, &f); err != nil {
		return err
	}
	bed.results.add(figure{
		Name: name("until it serves, by a bare client-go list"), Value: f.Verifier.Wall, Unit: "s", Baseline: f.List.Wall,
		Spread: f.Verifier.Spread,
		Goal:   "≤ 1.3, or 2 s", Met: f.Verifier.Wall <= max(2, 1.3*f.List.Wall),
	})
	bed.results.add(figure{
		Name: name("CPU, by a bare client-go list's"), Value: f.Verifier.CPU, Unit: "s", Baseline: f.List.CPU,
		Goal: "≤ 1.3, or 5 s", Met: f.Verifier.CPU <= max(5, 1.3*f.List.CPU),
	})
	bed.results.add(figure{
		Name: name("revoked keys accepted"), Value: float64(f.Accepted), Unit: "requests", Goal: "0", Met: f.Accepted == 0,
	})
	bed.results.add(figure{
		Name: name("verifier's resident memory after sync"), Value: f.Verifier.Memory, Unit: "MiB", Goal: "≤ 90",
		Met: f.Verifier.Memory <= 90,
	})
	bed.results.add(figure{
		Name: name("verifier's peak during sync, by memory after it"), Value: f.Verifier.Peak, Baseline: f.Verifier.Memory,
		Unit: "MiB", Goal: "≤ 2", Met: f.Verifier.Peak <= 2*f.Verifier.Memory,
	})
	if err := bed.startController(ctx, &f); err != nil {
		return err
	}
	bed.results.add(figure{
		Name: name("controller's resident memory, at its peak"), Value: f.Controller.Peak, Baseline: f.Controller.Memory,
		Unit: "MiB", Goal: "≤ 400 MiB", Met: f.Controller.Peak <= 400,
	})
	return nil
}

// verifierStart is what was measured while a verifier started.
type verifierStart struct {
	timing
	// memory is the resident memory once it has settled, and peak the maximum, in MiB.
	memory, peak float64
	// accepted is the number of requests with revoked keys that were allowed.
	accepted int
}

// startVerifier starts a verifier, and sends it requests with revoked keys from its first moment on, until it has
// answered one for each of them.
func (bed *testbed) startVerifier(ctx context.Context, people *population) (a verifierStart, err error) {
	v, err := bed.verifier(ctx, "verifier-0")
	if err != nil {
		return a, err
	}
	var conversation *line
	listens := func() bool {
		conversation, err = dial(ctx, v.address)
		return err == nil
	}
	if err := until(ctx, time.Millisecond, listens); err != nil {
		return a, fmt.Errorf("the verifier did not start: %w: %s", err, tail(v.log.String()))
	}
	defer conversation.close()
	for i := 0; a.Wall == 0; i += revokedEvery {
		if err := a.tryRevoked(conversation, people.keys[i%len(people.keys)]); err != nil {
			return a, err
		}
		status, err := conversation.ask(question(people.keys[len(people.keys)-1]))
		if err != nil {
			return a, err
		}
		if status == http.StatusOK {
			used, err := v.cpu()
			if err != nil {
				return a, err
			}
			a.timing = timing{Wall: time.Since(v.started).Seconds(), CPU: used.Seconds()}
		}
		if ctx.Err() != nil {
			return a, fmt.Errorf("the verifier did not get ready: %w: %s", context.Cause(ctx), tail(v.log.String()))
		}
		time.Sleep(5 * time.Millisecond)
	}
	for i := 0; i < len(people.keys); i += revokedEvery {
		if err := a.tryRevoked(conversation, people.keys[i]); err != nil {
			return a, err
		}
	}
	if err := pauseFor(ctx, settling); err != nil {
		return a, err
	}
	if a.memory, a.peak, err = v.memory(); err != nil {
		return a, err
	}
	return a, bed.stop(v)
}

// tryRevoked sends a request with a revoked key.
func (a *verifierStart) tryRevoked(conversation *line, revoked subject) error {
	status, err := conversation.ask(question(revoked))
	if status == http.StatusOK {
		a.accepted++
	}
	return err
}

// list starts a process that lists all keys once, and waits for its end.
func list(ctx context.Context, kubeconfig string) (e timing, err error) {
	self, err := os.Executable()
	if err != nil {
		return e, err
	}
	began := time.Now()
	command := exec.CommandContext(ctx, self, bareListArgument, kubeconfig)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return e, fmt.Errorf("listing: %w", err)
	}
	err = json.Unmarshal(out, &e)
	e.Wall = time.Since(began).Seconds()
	return e, err
}

// bareList lists and decodes all keys as client-go does, and prints how much time that took.
func bareList(args []string) int {
	e, err := listHere(args[0])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(e)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func listHere(kubeconfig string) (timing, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return timing{}, err
	}
	scheme := runtime.NewScheme()
	if err := keysv1alpha1.AddToScheme(scheme); err != nil {
		return timing{}, err
	}
	config.GroupVersion, config.APIPath = &keysv1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.DisableCompression = true
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return timing{}, err
	}
	keys := &keysv1alpha1.ApiKeyList{}
	if err := client.Get().Resource("apikeys").Do(context.Background()).Into(keys); err != nil {
		return timing{}, err
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return timing{}, err
	}
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return timing{CPU: cpu.Seconds(), Keys: len(keys.Items)}, nil
}
