package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// demo has everything that runs, and how to end it.
type demo struct {
	say      transcript
	ws       *workspace
	programs programs
	cluster  *cluster
	upstream *upstream
	// proxyName is a key of guide.Proxies, and proxy where the proxy listens.
	proxyName, proxy string
	cancel           context.CancelCauseFunc

	processes []*process
	closers   []func() error
}

// run starts everything, shows it or leaves it running, and ends it, whatever happens in between.
func run(ctx context.Context, cancel context.CancelCauseFunc, say transcript, o options) (err error) {
	mode := "demo"
	if o.keep {
		mode = "run"
	}
	d := &demo{say: say, cancel: cancel, proxyName: o.proxy}
	defer func() {
		// Once the context has ended, every step fails with an error that is less helpful than the cause.
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		d.report(err)
		if closeErr := d.close(); closeErr != nil {
			err = fmt.Errorf("ending everything: %w", closeErr) // The failure before it has been reported.
			d.report(err)
		}
	}()
	if d.ws, err = openWorkspace(mode); err != nil {
		return err
	}
	d.onClose(d.ws.close)
	if d.programs, err = d.find(); err != nil {
		return err
	}
	if err = d.start(ctx, o.keep); err != nil {
		return err
	}
	if o.keep {
		return d.keepRunning(ctx)
	}
	return d.walkThrough(ctx)
}

// start starts the cluster and all components.
func (d *demo) start(ctx context.Context, keep bool) error {
	if err := d.startCluster(keep); err != nil {
		return err
	}
	d.onClose(d.cluster.stop)
	if ctx.Err() != nil { // Starting a control plane can't be interrupted.
		return ctx.Err()
	}
	if err := d.install(ctx); err != nil {
		return err
	}
	return d.startComponents(ctx)
}

// startCluster starts a control plane or, for make run, uses the one that KUBECONFIG names.
func (d *demo) startCluster(keep bool) (err error) {
	if existing := os.Getenv("KUBECONFIG"); keep && existing != "" {
		if d.cluster, err = useCluster(d.ws, d.say, existing); err == nil {
			d.say.step("Use the cluster at %s: context %q of KUBECONFIG=%s", d.cluster.server(), d.cluster.flat.CurrentContext,
				existing)
			d.say.line("what is applied there stays there")
		}
		return err
	}
	what := "etcd, kube-apiserver"
	if keep {
		what += ", kube-controller-manager"
	}
	d.say.step("Start a control plane: %s", what)
	started := time.Now()
	kubeconfig := filepath.Join(d.ws.tmp, "kubeconfig")
	if keep {
		kubeconfig = filepath.Join(d.ws.dev, "kubeconfig")
	}
	if d.cluster, err = startCluster(d.ws, d.say, kubeconfig, keep); err == nil {
		d.say.line("ready at %s after %.1f s", d.cluster.server(), time.Since(started).Seconds())
	}
	return err
}

// install installs this project's CRDs, permissions and the verifiers' canary.
func (d *demo) install(ctx context.Context) error {
	d.say.step("Install the kinds, who may do what, and the verifiers' canary")
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", "config/crd"},
		{"wait", "--for=condition=Established", "-f", "config/crd/bases"},
		{"apply", "--server-side", "-f", "config/default/namespace.yaml"},
		{"apply", "--server-side", "-k", "config/rbac"},
		{"apply", "--server-side", "-f", "config/verifier/canary.yaml"},
		{"apply", "--server-side", "-k", "config/policy"},
	} {
		d.say.typed("kubectl " + shell(args...))
		if _, err := d.cluster.ask(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// keepRunning applies the samples, prints what can be done with them, and waits until it is interrupted.
func (d *demo) keepRunning(ctx context.Context) error {
	if err := d.declare(ctx, nil); err != nil {
		if ctx.Err() != nil || os.Getenv("KUBECONFIG") == "" {
			return err
		}
		// If the cluster has had the samples before, somebody may have revoked one of the keys.
		d.say.line("%s", err)
		d.say.line(`to begin anew: "kubectl delete -f config/samples/apikeys.yaml", and "make run" again`)
	}
	go d.cluster.renewTokens(ctx, controllerAccount, verifierAccount)
	d.invite()
	<-ctx.Done()
	return context.Cause(ctx)
}

// report prints why the demo failed, with the last lines of the components' logs.
func (d *demo) report(err error) {
	if by := (interrupted{}); err == nil || errors.As(err, &by) {
		return
	}
	d.say.print("\nFAILED: " + err.Error())
	for _, p := range d.processes {
		if end := tail(p.log, 20); end != "" {
			d.say.print(fmt.Sprintf("\n--- the end of %s\n%s", d.ws.relative(p.log), end))
		}
	}
}

// onClose registers a function that ends what has just been started.
func (d *demo) onClose(closer func() error) {
	d.closers = append(d.closers, closer)
}

// close ends everything, in reverse order.
func (d *demo) close() error {
	var errs []error
	for _, closer := range slices.Backward(d.closers) {
		errs = append(errs, closer())
	}
	d.closers = nil
	return errors.Join(errs...)
}
