package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
)

const (
	// filledKeys is how many keys there are in the filled cluster.
	filledKeys   = 100_000
	filledRounds = 2
	// settling is how long after its first answer a verifier's memory is looked at.
	settling = 3 * time.Second
	mebibyte = 1 << 20
)

// filled measures verifiers and the controller in a cluster with many keys, each with a Secret.
func filled(ctx context.Context, l *lab) error {
	f, err := l.fill(ctx, l.times(filledKeys))
	if err != nil {
		return err
	}
	name := func(what string) string { return fmt.Sprintf("%d ApiKeys: %s", f.Keys, what) }
	if err := l.startVerifiers(ctx, filledRounds, &f); err != nil {
		return err
	}
	l.book.add(figure{
		Name: name("verifier's resident memory after sync"), Value: f.Verifier.Memory, Unit: "MiB", Goal: "≤ 90", Met: f.Verifier.Memory <= 90,
	})
	l.book.add(figure{
		Name: name("verifier's peak during sync, by memory after it"), Value: f.Verifier.Peak, Baseline: f.Verifier.Memory,
		Unit: "MiB", Goal: "≤ 2", Met: f.Verifier.Peak <= 2*f.Verifier.Memory,
	})
	l.book.add(figure{
		Name: name("cold start to ready, by a bare client-go list"), Value: f.Verifier.Wall, Baseline: f.List.Wall,
		Unit: "s", Spread: f.Verifier.Spread, Goal: "≤ 1.5", Met: f.Verifier.Wall <= 1.5*f.List.Wall,
	})
	l.book.add(figure{
		Name: name("cold start's CPU, by a bare client-go list's"), Value: f.Verifier.CPU, Baseline: f.List.CPU,
		Unit: "s", Goal: "≤ 1.5", Met: f.Verifier.CPU <= 1.5*f.List.CPU,
	})
	if err := l.startController(ctx, &f); err != nil {
		return err
	}
	l.book.add(figure{
		Name: name("controller's resident memory, at its peak"), Value: f.Controller.Peak, Baseline: f.Controller.Memory,
		Unit: "MiB", Goal: "≤ 400 MiB", Met: f.Controller.Peak <= 400,
	})
	return nil
}

// footing is what a number of keys take.
type footing struct {
	Keys       int    `json:"keys"`
	Tenants    int    `json:"tenants"`
	List       upkeep `json:"list"`
	Verifier   upkeep `json:"verifier"`
	Controller upkeep `json:"controller"`
	// APIServer has its memory once verifiers and controller have read all of it, and Etcd the size of its file, in MiB.
	APIServer float64 `json:"apiServerMemory"`
	Etcd      float64 `json:"etcdSize"`
}

// upkeep is what it takes of a program: seconds until it is ready, seconds of CPU until then, and memory in MiB.
type upkeep struct {
	Wall   float64 `json:"wall,omitempty"`
	CPU    float64 `json:"cpu"`
	Memory float64 `json:"memory,omitempty"`
	Peak   float64 `json:"peak,omitempty"`
	Spread string  `json:"-"`
}

// measureFilled fills a cluster with keys and has a verifier and a bare list start in turn, and then a controller.
func (l *lab) measureFilled(ctx context.Context, n, rounds int) (f footing, err error) {
	if f, err = l.fill(ctx, n); err != nil {
		return f, err
	}
	if err := l.startVerifiers(ctx, rounds, &f); err != nil {
		return f, err
	}
	if err := l.startController(ctx, &f); err != nil {
		return f, err
	}
	page, err := l.cp.RunKubectl(ctx, "get", "--raw", "/metrics")
	if err != nil {
		return f, err
	}
	if f.APIServer, err = sumOf(page, "process_resident_memory_bytes"); err != nil {
		return f, err
	}
	f.Etcd, err = sumOf(page, "apiserver_storage_size_bytes{")
	f.APIServer, f.Etcd = f.APIServer/mebibyte, f.Etcd/mebibyte
	return f, err
}

// fill fills a cluster with keys, each with a Secret.
func (l *lab) fill(ctx context.Context, n int) (f footing, err error) {
	began := time.Now()
	if err := l.install(ctx); err != nil {
		return f, err
	}
	people, err := l.populate(ctx, n, 0)
	if err != nil {
		return f, err
	}
	if err := l.addSecrets(ctx, people); err != nil {
		return f, err
	}
	fmt.Printf("  filled in %.0f s\n", time.Since(began).Seconds())
	return footing{Keys: n, Tenants: len(people.tenants)}, nil
}

// addSecrets gives each key a Secret as the controller makes them, which keeps no more than their metadata.
func (l *lab) addSecrets(ctx context.Context, people *population) error {
	first := people.keys[0]
	template := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: first.name.Namespace, Name: first.name.Name,
			Labels: map[string]string{
				keysv1alpha1.ManagedByLabel: keysv1alpha1.ManagedByValue, keysv1alpha1.GroupName + "/uid": first.uid,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey", Name: first.name.Name, UID: types.UID(first.uid), Controller: new(true),
			}},
		},
		StringData: map[string]string{
			"token": first.token, "authorization": "Bearer " + first.token, "tenantId": first.tenantID,
			"apiBaseUrl": "https://your-nexuscommerce.com/api", "type": "nexuscommerce", "provider": "nexuscommerce",
		},
	}
	if err := l.cp.Client.Create(ctx, template); err != nil {
		return err
	}
	return l.cp.SeedSecrets(ctx, client.ObjectKeyFromObject(template), len(people.keys)-1, func(i int) (client.ObjectKey, []string) {
		key := people.keys[i+1]
		// Stored as protobuf: whatever is replaced keeps its length.
		return key.name, []string{
			string(template.UID), fixture.UUID(), first.name.Namespace, key.name.Namespace, first.name.Name, key.name.Name, first.uid, key.uid,
			first.tenantID, key.tenantID, first.token, key.token,
		}
	})
}

// startVerifiers starts a verifier and a bare list in turn.
func (l *lab) startVerifiers(ctx context.Context, rounds int, f *footing) error {
	kubeconfig, err := l.cp.ServiceAccountKubeconfig("apikey-verifier")
	if err != nil {
		return err
	}
	if _, err := list(ctx, kubeconfig); err != nil { // The API server's own first time.
		return err
	}
	var wall, cpu, memory, peak, bareWall, bareCPU samples
	for range rounds {
		bare, err := list(ctx, kubeconfig)
		if err != nil {
			return err
		}
		bareWall, bareCPU = append(bareWall, bare.Wall), append(bareCPU, bare.CPU)
		v, err := l.verifier(ctx, "verifier-0")
		if err != nil {
			return err
		}
		if err := v.ready(ctx); err != nil {
			return fmt.Errorf("%w: %s", err, tail(v.log.String()))
		}
		wall = append(wall, time.Since(v.started).Seconds())
		used, err := v.cpu()
		if err != nil {
			return err
		}
		if err := pauseFor(ctx, settling); err != nil {
			return err
		}
		now, most, err := v.memory()
		if err != nil {
			return err
		}
		fmt.Printf("  ready in %.1f s, %.1f s of CPU, %.0f MiB after it, %.0f at its peak; a bare list %.1f s, %.1f s of CPU\n",
			wall[len(wall)-1], used.Seconds(), now, most, bare.Wall, bare.CPU)
		cpu, memory, peak = append(cpu, used.Seconds()), append(memory, now), append(peak, most)
		if err := l.stop(v); err != nil {
			return err
		}
	}
	f.List = upkeep{Wall: bareWall.median(), CPU: bareCPU.median()}
	f.Verifier = upkeep{Wall: wall.median(), CPU: cpu.median(), Memory: memory.median(), Peak: peak.median(), Spread: wall.spread()}
	return nil
}

// startController starts a controller, and waits until it has looked at every key.
func (l *lab) startController(ctx context.Context, f *footing) error {
	controller, err := l.controller(ctx)
	if err != nil {
		return err
	}
	looked := func() bool {
		rounds, err := controller.metric(ctx, `controller_runtime_reconcile_total{controller="apikey"`)
		return err == nil && rounds >= float64(f.Keys)
	}
	if err := until(ctx, 100*time.Millisecond, looked); err != nil {
		return fmt.Errorf("%w: %s", err, tail(controller.log.String()))
	}
	if err := controller.idle(ctx); err != nil {
		return err
	}
	f.Controller.Wall = time.Since(controller.started).Seconds()
	used, err := controller.cpu()
	if err != nil {
		return err
	}
	f.Controller.CPU = used.Seconds()
	if f.Controller.Memory, f.Controller.Peak, err = controller.memory(); err != nil {
		return err
	}
	fmt.Printf("  a controller has looked at all in %.0f s, %.0f s of CPU, %.0f MiB then, %.0f at its peak\n",
		f.Controller.Wall, f.Controller.CPU, f.Controller.Memory, f.Controller.Peak)
	return l.stop(controller)
}

// memory returns how much memory a process has resident, and the most that it had, in MiB.
func (p *process) memory() (now, most float64, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(content)) {
		for field, into := range map[string]*float64{"VmRSS:": &now, "VmHWM:": &most} {
			if rest, ok := strings.CutPrefix(line, field); ok {
				kibibytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				if err != nil {
					return 0, 0, err
				}
				*into = kibibytes / 1024
			}
		}
	}
	return now, most, nil
}

func pauseFor(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(length):
		return nil
	}
}
