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
	coldRounds = 2
	// revokedEvery is how many keys there are to each that is revoked.
	revokedEvery = 50
	// bareListArgument has this command be a process that lists all keys and does nothing else.
	bareListArgument = "bare-list"
)

// effort is what something took.
type effort struct {
	// Wall is seconds, CPU seconds of all threads.
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
	Keys int     `json:"keys"`
}

// coldStart measures a verifier's start beside a bare list of the same keys, and asks for revoked keys all the while.
func coldStart(ctx context.Context, l *lab) error {
	if err := l.install(ctx); err != nil {
		return err
	}
	people, err := l.populate(ctx, l.times(50_000), revokedEvery)
	if err != nil {
		return err
	}
	kubeconfig, err := l.cp.ServiceAccountKubeconfig("apikey-verifier")
	if err != nil {
		return err
	}
	if _, err := list(ctx, kubeconfig); err != nil { // The API server's own first time.
		return err
	}
	var wall, cpu, bareWall, bareCPU samples
	accepted := 0
	for range coldRounds {
		bare, err := list(ctx, kubeconfig)
		if err != nil {
			return err
		}
		bareWall, bareCPU = append(bareWall, bare.Wall), append(bareCPU, bare.CPU)
		own, passed, err := l.comeUp(ctx, people)
		if err != nil {
			return err
		}
		wall, cpu = append(wall, own.Wall), append(cpu, own.CPU)
		accepted += passed
	}
	n := len(people.keys)
	l.book.add(figure{
		Name: fmt.Sprintf("cold start with %d keys: until it serves", n), Value: wall.median(), Unit: "s", Baseline: bareWall.median(), Spread: wall.spread(),
		Goal: "≤ 2 s, or 1.3 × a bare list", Met: wall.median() <= max(2, 1.3*bareWall.median()),
	})
	l.book.add(figure{
		Name: fmt.Sprintf("cold start with %d keys: CPU", n), Value: cpu.median(), Unit: "s", Baseline: bareCPU.median(), Spread: cpu.spread(),
		Goal: "≤ 5 s, or 1.3 × a bare list", Met: cpu.median() <= max(5, 1.3*bareCPU.median()),
	})
	l.book.add(figure{
		Name: fmt.Sprintf("cold start with %d keys: revoked keys accepted", n), Value: float64(accepted), Unit: "requests", Goal: "0", Met: accepted == 0,
	})
	return nil
}

// comeUp starts a verifier, and asks it about revoked keys from its first moment until a second after it serves. It
// returns what that took, and how many revoked keys passed.
func (l *lab) comeUp(ctx context.Context, people *population) (e effort, accepted int, err error) {
	v, err := l.verifier(ctx, "verifier-0")
	if err != nil {
		return e, 0, err
	}
	var conversation *line
	listens := func() bool {
		conversation, err = dial(ctx, v.address)
		return err == nil
	}
	if err := until(ctx, time.Millisecond, listens); err != nil {
		return e, 0, fmt.Errorf("it does not come up: %w: %s", err, tail(v.log.String()))
	}
	defer conversation.close()
	works := question(people.keys[len(people.keys)-1])
	for i := 0; e.Wall == 0; i += revokedEvery {
		status, err := conversation.ask(question(people.keys[i%len(people.keys)]))
		if err != nil {
			return e, 0, err
		}
		if status == http.StatusOK {
			accepted++
		}
		if status, err = conversation.ask(works); err != nil {
			return e, 0, err
		}
		if status == http.StatusOK {
			cpu, err := v.cpu()
			if err != nil {
				return e, 0, err
			}
			e = effort{Wall: time.Since(v.started).Seconds(), CPU: cpu.Seconds()}
		}
		if ctx.Err() != nil {
			return e, 0, fmt.Errorf("it does not serve: %w: %s", context.Cause(ctx), tail(v.log.String()))
		}
		time.Sleep(5 * time.Millisecond)
	}
	for i := 0; i < len(people.keys); i += revokedEvery {
		status, err := conversation.ask(question(people.keys[i]))
		if err != nil {
			return e, 0, err
		}
		if status == http.StatusOK {
			accepted++
		}
	}
	return e, accepted, l.stop(v)
}

// list has a process list all keys once, which ends then.
func list(ctx context.Context, kubeconfig string) (e effort, err error) {
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

// bareList lists and decodes all keys as client-go does, and prints what it took.
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

func listHere(kubeconfig string) (effort, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return effort{}, err
	}
	scheme := runtime.NewScheme()
	if err := keysv1alpha1.AddToScheme(scheme); err != nil {
		return effort{}, err
	}
	config.GroupVersion, config.APIPath = &keysv1alpha1.GroupVersion, "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.DisableCompression = true
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return effort{}, err
	}
	keys := &keysv1alpha1.ApiKeyList{}
	if err := client.Get().Resource("apikeys").Do(context.Background()).Into(keys); err != nil {
		return effort{}, err
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return effort{}, err
	}
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	return effort{CPU: cpu.Seconds(), Keys: len(keys.Items)}, nil
}
