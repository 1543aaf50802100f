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
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const (
	// filledRounds is how many times a verifier is started, in turns with a bare list.
	filledRounds = 2
	// revokedEvery is the share of keys that were revoked while the controller was away: one of this many.
	revokedEvery = 250
	// settling is the time from a verifier's first answer to the measurement of its memory.
	settling = 3 * time.Second
	mebibyte = 1 << 20
)

// clusterCost is what a cluster with a number of keys costs.
type clusterCost struct {
	Keys       int         `json:"keys"`
	Tenants    int         `json:"tenants"`
	List       programCost `json:"list"`
	Verifier   programCost `json:"verifier"`
	Controller programCost `json:"controller"`
	// Accepted is the number of requests with revoked keys that were allowed while verifiers started, and just after.
	Accepted int `json:"-"`
	// APIServer is the API server's memory once verifiers and controller have read everything, and Etcd the size of its
	// file, in MiB.
	APIServer float64 `json:"apiServerMemory"`
	Etcd      float64 `json:"etcdSize"`
}

// programCost is what a program costs: seconds until it is ready, seconds of CPU until then, and memory in MiB.
type programCost struct {
	Wall   float64 `json:"wall,omitempty"`
	CPU    float64 `json:"cpu"`
	Memory float64 `json:"memory,omitempty"`
	Peak   float64 `json:"peak,omitempty"`
	Spread string  `json:"-"`
}

// measureFilled fills a cluster with keys, starts a verifier and a bare list in turns, and then a controller.
func (bed *testbed) measureFilled(ctx context.Context, n, rounds int) (clusterCost, error) {
	f, people, err := bed.fill(ctx, n)
	if err != nil {
		return f, err
	}
	if err := bed.startVerifiers(ctx, people, rounds, &f); err != nil {
		return f, err
	}
	if err := bed.startController(ctx, &f); err != nil {
		return f, err
	}
	page, err := bed.cp.RunKubectl(ctx, "get", "--raw", "/metrics")
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

// fill fills a cluster with keys, each with a Secret. Some are revoked, and no controller has seen that yet.
func (bed *testbed) fill(ctx context.Context, n int) (clusterCost, *population, error) {
	began := time.Now()
	if err := bed.install(ctx); err != nil {
		return clusterCost{}, nil, err
	}
	people, err := bed.populate(ctx, n, perTenant, revokedEvery)
	if err != nil {
		return clusterCost{}, nil, err
	}
	if err := bed.addSecrets(ctx, people); err != nil {
		return clusterCost{}, nil, err
	}
	fmt.Printf("  filled in %.0f s\n", time.Since(began).Seconds())
	return clusterCost{Keys: n, Tenants: len(people.tenants)}, people, nil
}

// addSecrets gives each key a Secret like the controller's. The controller caches only the metadata of it.
func (bed *testbed) addSecrets(ctx context.Context, people *population) error {
	first := people.keys[0]
	template := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: first.name.Namespace, Name: first.name.Name,
			Labels: map[string]string{
				keysv1alpha1.ManagedByLabel: keysv1alpha1.ManagedByValue, keysv1alpha1.GroupName + "/uid": first.uid,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey", Name: first.name.Name, UID: types.UID(first.uid),
				Controller: new(true),
			}},
		},
		StringData: map[string]string{
			"token": first.token, "authorization": "Bearer " + first.token, "tenantId": first.tenantID,
			"apiBaseUrl": "https://your-nexuscommerce.com/api", "type": "nexuscommerce", "provider": "nexuscommerce",
		},
	}
	if err := bed.cp.Client.Create(ctx, template); err != nil {
		return err
	}
	return bed.cp.SeedSecrets(ctx, client.ObjectKeyFromObject(template), len(people.keys)-1,
		func(i int) (client.ObjectKey, []string) {
			key := people.keys[i+1]
			// They are stored as protobuf, so every replacement must have the same length.
			return key.name, []string{
				string(template.UID), fixture.UUID(), first.name.Namespace, key.name.Namespace, first.name.Name, key.name.Name,
				first.uid, key.uid,
				first.tenantID, key.tenantID, first.token, key.token,
			}
		})
}

// startVerifiers starts a verifier and a bare list in turns.
func (bed *testbed) startVerifiers(ctx context.Context, people *population, rounds int, f *clusterCost) error {
	kubeconfig, err := bed.cp.ServiceAccountKubeconfig("apikey-verifier")
	if err != nil {
		return err
	}
	first, err := list(ctx, kubeconfig)
	if err != nil {
		return err
	}
	fmt.Printf("  first list of all keys by the API server: %.0f s\n", first.Wall)
	var wall, cpu, memory, peak, bareWall, bareCPU samples
	for range rounds {
		without, err := list(ctx, kubeconfig)
		if err != nil {
			return err
		}
		bareWall, bareCPU = append(bareWall, without.Wall), append(bareCPU, without.CPU)
		own, err := bed.startVerifier(ctx, people)
		if err != nil {
			return err
		}
		fmt.Printf("  verifier ready after %.1f s and %.1f s of CPU, with %.0f MiB (peak %.0f MiB); a bare list takes "+
			"%.1f s and %.1f s of CPU\n",
			own.Wall, own.CPU, own.memory, own.peak, without.Wall, without.CPU)
		wall, cpu = append(wall, own.Wall), append(cpu, own.CPU)
		memory, peak = append(memory, own.memory), append(peak, own.peak)
		f.Accepted += own.accepted
	}
	f.List = programCost{Wall: bareWall.median(), CPU: bareCPU.median()}
	f.Verifier = programCost{
		Wall: wall.median(), CPU: cpu.median(), Memory: memory.median(), Peak: peak.median(), Spread: wall.spread(),
	}
	return nil
}

// startController starts a controller, and waits until it has reconciled every key.
func (bed *testbed) startController(ctx context.Context, f *clusterCost) error {
	controller, err := bed.controller(ctx)
	if err != nil {
		return err
	}
	reconciled := func() bool {
		count, err := controller.metric(ctx, `controller_runtime_reconcile_total{controller="apikey"`)
		return err == nil && count >= float64(f.Keys)
	}
	if err := until(ctx, 100*time.Millisecond, reconciled); err != nil {
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
	fmt.Printf("  controller done after %.0f s and %.0f s of CPU, with %.0f MiB (peak %.0f MiB)\n",
		f.Controller.Wall, f.Controller.CPU, f.Controller.Memory, f.Controller.Peak)
	return bed.stop(controller)
}

// memory returns the resident memory of a process and its maximum, in MiB.
func (p *process) memory() (now, most float64, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	for text := range strings.Lines(string(content)) {
		for field, into := range map[string]*float64{"VmRSS:": &now, "VmHWM:": &most} {
			if rest, ok := strings.CutPrefix(text, field); ok {
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
