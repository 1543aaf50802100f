package explore_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// testbed is shared by all runs.
type testbed struct {
	cp     *controlplane.ControlPlane
	policy *keysv1alpha1.AccessPolicy
	faults map[string]faultFunc
}

// run plays one scenario with one plan.
type run struct {
	testbed  *testbed
	ctx      context.Context
	scenario scenario
	plan     plan

	namespace, system string
	tenants           []string
	names             []string // of every key that has ever existed
	clock             *clocktesting.FakePassiveClock
	events            *events.FakeRecorder
	verifiers         []*verifier
	witness           *witness

	// history has all states so far, the latest last.
	history []*state
	leader  *process
	tasks   []*task
	// down is set while no controller runs, until users have done the next thing.
	down bool
	// wakes has the times at which the leader wants to reconcile keys again.
	wakes    map[string]time.Time
	sleepers []*task
	// unnumbered is set during writes that no plan counts.
	unnumbered bool

	outcome outcome
}

// outcome is the result of a run.
type outcome struct {
	plan plan
	// stageOf is the stage in which each write was made; writes are counted from 1.
	stageOf []int
	stages  int
	// fired is how many of the plan's faults have happened.
	fired int
	// branches is how many tasks could be chosen at each turn of a race, and turns is which was chosen.
	branches, turns []int
	// probed is how many old states led to no write; stale has those that led to one.
	probed int
	stale  []stale

	trace    []string
	failures []string
}

// broken is the value with which a run panics when it can't continue.
type broken struct{ err error }

func (r *run) must(err error) {
	if err != nil {
		panic(broken{err})
	}
}

const maxFailures = 5

func (r *run) fail(format string, args ...any) {
	if len(r.outcome.failures) < maxFailures {
		r.outcome.failures = append(r.outcome.failures, fmt.Sprintf(format, args...)+" "+r.where())
	}
}

func (r *run) where() string {
	return fmt.Sprintf("[after %d: %s]", len(r.outcome.trace), r.outcome.trace[max(len(r.outcome.trace)-1, 0):])
}

func (r *run) log(format string, args ...any) {
	r.outcome.trace = append(r.outcome.trace, fmt.Sprintf(format, args...))
}

// play runs a scenario with a plan.
func (l *testbed) play(t *testing.T, s scenario, p plan) outcome {
	r := &run{
		testbed:   l,
		ctx:       t.Context(),
		scenario:  s,
		plan:      p,
		namespace: fixture.Name("ns"),
		system:    fixture.Name("system"),
		clock:     clocktesting.NewFakePassiveClock(time.Now().Truncate(time.Second)),
		events:    events.NewFakeRecorder(100),
		wakes:     map[string]time.Time{},
		witness:   newWitness(),
	}
	r.outcome.plan, r.outcome.stages = p, len(s.stages)
	defer func() {
		for _, t := range r.tasks {
			t.stop()
		}
	}()
	r.live()
	return r.outcome
}

func (r *run) live() {
	defer func() {
		switch e := recover().(type) {
		case nil:
		case broken:
			r.fail("broken: %v", e.err)
		default:
			panic(e)
		}
	}()
	r.setUp()
	for i, next := range r.scenario.stages {
		r.stage(i, next)
	}
	r.end()
}

func (r *run) setUp() {
	first, second := fixture.Name("tenant"), fixture.Name("tenant")
	one := int32(1)
	for _, name := range []string{first, second}[:max(r.scenario.tenants, 1)] {
		r.create(fixture.Tenant(name, func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = &one }))
		r.tenants = append(r.tenants, name)
	}
	r.create(fixture.Namespace(r.namespace, first))
	r.create(fixture.Namespace(r.system, ""))
	r.registerVerifiers()
	if !r.scenario.withoutRoot {
		root, err := token.RootFrom([]byte("the root key, which has 32 bytes"))
		r.must(err)
		r.create(&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.system, Name: "apikey-root-1",
				Labels: map[string]string{keysv1alpha1.RootLabel: "1"}},
			Data: map[string][]byte{"key": root.Bytes()},
		})
	}
	r.history = []*state{{version: map[part]int{}}}
	for _, k := range []kind{keyKind, tenantKind, secretKind, namespaceKind} {
		r.observe(k)
	}
	r.history = r.history[len(r.history)-1:]
	r.leader = r.newProcess()
}

// stage does what users do in a stage, and lets the controller react.
func (r *run) stage(i int, s stage) {
	r.outcome.stages = i
	r.log("stage %s", s.name)
	s.do(r)
	r.check()
	if r.down {
		r.down, r.leader = false, r.newProcess()
	}
	if !s.quiet {
		r.settle()
	}
	if s.race != nil {
		r.race(s.race)
		r.settle()
	}
	r.follow(s.pass)
	if r.plan.wake == i {
		r.wakeSleepers()
	}
}

// end ends all faults, and checks that every object reaches the state that users asked for.
func (r *run) end() {
	if r.leader == nil {
		r.down, r.leader = false, r.newProcess()
	}
	r.settle()
	r.collect()
	r.settle()
	// Time passes, too: the controller must have requested a reconciliation for everything that was left to do.
	r.follow(r.scenario.last)
	if len(r.sleepers) > 0 {
		r.wakeSleepers()
	}
	if got := len(r.plan.faults); r.outcome.fired != got {
		r.fail("%d of %d faults came to pass", r.outcome.fired, got)
	}
	r.expectEnd()
	// L4, also for a process that has just started.
	r.prove(r.verifiers...)
	before := len(r.outcome.stageOf)
	r.leader = r.newProcess()
	r.reconcileAll()
	if wrote := len(r.outcome.stageOf) - before; wrote > 0 {
		r.fail("L4: %d writes when nothing had changed", wrote)
	}
	r.outcome.stageOf = r.outcome.stageOf[:before]
}

// settle reconciles until there is nothing left to do.
func (r *run) settle() {
	const bound = 40
	for range bound {
		if r.leader == nil {
			return
		}
		if !r.reconcileAll() {
			continue
		}
		if r.leader != nil && !r.outlasted() && !r.verifierCatchesUp() {
			return
		}
	}
	if r.leader != nil {
		r.fail("L1: still busy after %d rounds", bound)
	}
}

// outlasted lets as much time pass as the leader waits for late verifiers, and reports whether it waited.
func (r *run) outlasted() bool {
	name, at := r.nextWake()
	if !r.scenario.lateVerifiers || name == "" || at.After(r.clock.Now().Add(time.Second)) {
		return false
	}
	delete(r.wakes, name)
	r.log("nobody is prompt")
	r.clock.SetTime(at)
	return true
}

// reconcileAll reconciles everything once, and reports whether nothing was written.
func (r *run) reconcileAll() (quiet bool) {
	quiet = true
	for _, name := range slices.Clone(r.names) {
		quiet = r.reconcile(target{keyKind, name}) && quiet
	}
	for _, name := range r.tenants {
		quiet = r.reconcile(target{tenantKind, name}) && quiet
	}
	if r.scenario.tended {
		quiet = r.reconcile(target{kind: canaryKind}) && quiet
	}
	return quiet
}

// reconcile lets the leader reconcile a target, and reports whether nothing was written.
func (r *run) reconcile(of target) (quiet bool) {
	r.showOldStates(of)
	if r.leader == nil {
		return false
	}
	t := r.begin(r.leader, of, nil)
	if t == nil {
		return true
	}
	before := len(r.outcome.stageOf)
	r.drive(t)
	if of.kind == keyKind && !t.cut {
		delete(r.wakes, of.name)
		if t.err == nil && t.result.RequeueAfter > 0 {
			r.wakes[of.name] = r.clock.Now().Add(t.result.RequeueAfter)
		}
	}
	return t.err == nil && !t.cut && len(r.outcome.stageOf) == before
}

// follow lets time pass, and reconciles keys when the leader has asked for it.
func (r *run) follow(d time.Duration) {
	if d == 0 {
		return
	}
	until := r.clock.Now().Add(d)
	for range 100 {
		name, at := r.nextWake()
		if name == "" || at.After(until) {
			break
		}
		if at.After(r.clock.Now()) {
			r.passTo(at)
		}
		r.log("%s wakes", name)
		r.check()
		delete(r.wakes, name)
		r.reconcile(target{keyKind, name})
		r.settle()
	}
	r.passTo(until)
}

// passTo lets time pass. Verifiers that are not cut off report all the time.
func (r *run) passTo(t time.Time) {
	r.clock.SetTime(t)
	r.prove(r.verifiers...)
	r.check()
}

func (r *run) nextWake() (name string, at time.Time) {
	for _, n := range r.names {
		if w, ok := r.wakes[n]; ok && (name == "" || w.Before(at)) {
			name, at = n, w
		}
	}
	return name, at
}
