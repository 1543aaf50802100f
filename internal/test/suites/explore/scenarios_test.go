package explore_test

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// scenario is what users do, and what must be the result.
type scenario struct {
	// tenants is the number of tenants; one if not set. Each may have one key.
	tenants int
	// withoutRoot is set if the controller creates the root key.
	withoutRoot bool
	// withoutVerifiers is set if there are no verifiers to wait for, so that one reconciliation makes all of its
	// writes.
	withoutVerifiers bool
	// lateVerifiers is set if verifiers apply changes only once status says that the controller waits for them.
	lateVerifiers bool
	// tended is set if the canary is reconciled, too, which scenarios about keys alone don't need. No controller has
	// run before the scenario.
	tended bool
	stages []stage
	// last is the time that passes at the end, for what the controller has scheduled.
	last time.Duration
	// end checks what holds at the end of this scenario only.
	end func(*run)
	// writes is the smallest number of writes that the controller needs: a guard against a scenario that tests nothing.
	writes int
	// pairs is set if every crash after the first stage is combined with every fault at every later write. Single
	// faults are left to the same scenario without it.
	pairs bool
}

// stage is one thing that users do. The controller reacts to it before the next.
type stage struct {
	name string
	do   func(*run)
	// race returns the reconciliations that take turns once nothing else is to be done.
	race func(*run) []target
	// quiet is set if no event reaches the controller: only time and the race make it reconcile.
	quiet bool
	// pass is the time that passes after it.
	pass time.Duration
}

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

var nothing = func(*run) {}

// begin starts the first controller, which records the verifiers that it finds. It can't know of a verifier whose
// annotation was removed before.
func begin() stage { return stage{name: "the first controller comes up", do: nothing} }

func create(name string, change ...func(*keysv1alpha1.ApiKey)) stage {
	return stage{name: "create " + name, do: func(r *run) { r.createKey(name, change...) }}
}

func keyAndTenant(r *run) []target { return []target{{keyKind, "key"}, {tenantKind, r.tenants[0]}} }

func expiresIn(period keysv1alpha1.Expiry) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = period }
}

var scenarios = map[string]scenario{
	"mint": {withoutRoot: true, stages: []stage{create("key")}, writes: 6},

	"mint with a competing leader": {
		withoutVerifiers: true,
		withoutRoot:      true,
		stages: []stage{
			{
				name: "create", quiet: true, do: func(r *run) { r.createKey("key") },
				race: func(*run) []target { return []target{{keyKind, "key"}, {keyKind, "key"}} },
			},
		},
		writes: 6,
	},

	"quota race": {
		withoutVerifiers: true,
		stages: []stage{
			{
				name: "create two", quiet: true, do: func(r *run) { r.createKey("a"); r.createKey("b") },
				race: func(*run) []target { return []target{{keyKind, "a"}, {keyKind, "b"}} },
			},
			{name: "revoke the first", do: func(r *run) { r.revoke(holder(r)) }},
		},
		writes: 12,
	},

	"quota race for a place that is freed": {
		withoutVerifiers: true,
		stages: []stage{
			create("a"),
			create("b"),
			{
				name: "revoke the first", quiet: true, do: func(r *run) { r.revoke("a") },
				race: func(r *run) []target { return []target{{keyKind, "b"}, {tenantKind, r.tenants[0]}} },
			},
		},
		writes: 10,
	},

	"rotate": {
		stages: []stage{
			create("key"),
			{name: "ask for rotation", do: func(r *run) { r.askForRotation("key") }, pass: hour},
			{name: "relabel", do: func(r *run) {
				r.editKey("key", func(k *keysv1alpha1.ApiKey) { k.Labels = map[string]string{"team": "warehouse"} })
			}},
		},
		last: overlap + hour, writes: 9,
	},

	"rotate during crash": {
		stages: []stage{
			create("key"),
			{name: "ask for rotation", do: func(r *run) { r.askForRotation("key") }, pass: overlap + hour},
		},
		last: overlap + hour, writes: 9, pairs: true,
	},

	"rotate with a competing leader": {
		withoutVerifiers: true,
		stages: []stage{
			create("key"),
			{
				name: "ask for rotation", quiet: true, do: func(r *run) { r.askForRotation("key") },
				race: func(*run) []target { return []target{{keyKind, "key"}, {keyKind, "key"}} },
				pass: overlap + hour,
			},
		},
		last: overlap + hour, writes: 9,
	},

	"rotate on schedule, and lose the Secret": {
		stages: []stage{
			create("key", func(k *keysv1alpha1.ApiKey) {
				k.Spec.Rotation = &keysv1alpha1.Rotation{Every: "30d", Overlap: "1d"}
			}),
			{name: "a month", do: nothing, pass: 30*day + hour},
			{name: "delete the Secret", do: func(r *run) { r.deleteSecret("key") }, pass: 2 * day},
		},
		last: overlap + hour, writes: 10,
	},

	"revoke": {
		stages: []stage{create("key"), {name: "revoke", do: func(r *run) { r.revoke("key") }}},
		writes: 8,
	},

	"revoke, which verifiers take their time for": {
		lateVerifiers: true,
		stages:        []stage{create("key"), {name: "revoke", do: func(r *run) { r.revoke("key") }}},
		writes:        9,
	},

	"revoke, and the canary was replaced": {
		tended: true,
		stages: []stage{
			create("key"),
			{name: "cut one off", do: func(r *run) { r.cutOff(1) }},
			{name: "replace the canary", do: (*run).replaceCanary},
			{name: "revoke", do: func(r *run) { r.revoke("key") }, pass: 3 * verifiersBound},
			{name: "wait", do: nothing, pass: 2 * time.Minute},
			{name: "wait again", do: nothing},
		},
		writes: 11,
	},

	"revoke, and the canary is another": {
		tended: true,
		stages: []stage{
			begin(),
			create("key"),
			{name: "cut one off, and have another canary", do: func(r *run) { r.cutOff(1); r.recreateCanary() }},
			{name: "revoke", do: func(r *run) { r.revoke("key") }, pass: 3 * verifiersBound},
			{name: "wait", do: nothing, pass: 2 * time.Minute},
			{name: "wait again", do: nothing},
		},
		writes: 11,
	},

	"revoke, and another verifier has the name": {
		tended: true,
		stages: []stage{
			begin(),
			create("key"),
			{name: "cut one off, and start another of its name", do: func(r *run) { r.cutOff(1); r.startTwin(1) }},
			{name: "revoke", do: func(r *run) { r.revoke("key") }, pass: 3 * verifiersBound},
			{name: "wait", do: nothing, pass: 2 * time.Minute},
			{name: "wait again", do: nothing},
		},
		writes: 11,
	},

	"revoke, and one has signed off": {
		tended: true,
		stages: []stage{
			create("key"),
			{name: "sign off", do: func(r *run) { r.signOff(1) }},
			{name: "revoke", do: func(r *run) { r.revoke("key") }},
			{name: "wait", do: (*run).expectNoWait, pass: 3 * verifiersBound},
		},
		writes: 11,
	},

	"revoke during rotation": {
		stages: []stage{
			create("key"),
			{name: "ask for rotation", do: func(r *run) { r.askForRotation("key") }},
			{name: "revoke", do: func(r *run) { r.revoke("key") }, pass: overlap + hour},
		},
		writes: 11,
	},

	"delete and re-create": {
		stages: []stage{
			create("key"),
			{name: "delete", do: func(r *run) { r.deleteKey("key") }},
			create("key"),
			{name: "collect garbage", do: (*run).collect},
		},
		writes: 10,
	},

	"Secret deleted": {
		stages: []stage{create("key"), {name: "delete the Secret", do: func(r *run) { r.deleteSecret("key") }}},
		writes: 6,
	},

	"Secret altered": {
		stages: []stage{
			create("key"),
			{name: "alter data", do: alter(func(s *corev1.Secret) { s.Data["token"] = []byte("mine") })},
			{name: "take the owner away", do: alter(func(s *corev1.Secret) { s.OwnerReferences = nil })},
			{name: "alter and make immutable", do: alter(func(s *corev1.Secret) {
				immutable := true
				s.Data, s.Immutable = nil, &immutable
			})},
		},
		writes: 9,
	},

	"Secret robbed of its marks": {
		stages: []stage{
			create("key"),
			{name: "take all marks away", do: alter(func(s *corev1.Secret) { s.OwnerReferences, s.Labels = nil, nil })},
		},
		writes: 6,
	},

	"foreign Secret": {
		stages: []stage{
			{name: "create", do: func(r *run) { r.foreignSecret("key"); r.createKey("key") }, pass: 2 * time.Minute},
			{name: "ask for rotation", do: func(r *run) { r.askForRotation("key") }},
		},
		writes: 4,
	},

	"foreign Secret goes": {
		stages: []stage{
			{name: "create", do: func(r *run) { r.foreignSecret("key"); r.createKey("key") }},
			{name: "delete the Secret", quiet: true, do: func(r *run) {
				delete(r.witness.foreign, "key")
				r.deleteSecret("key")
			}, pass: 2 * time.Minute},
		},
		writes: 5,
	},

	"tenant moved": {
		tenants: 2,
		stages:  []stage{create("key"), {name: "move", do: func(r *run) { r.move(1) }}},
		writes:  6,
	},

	"tenant moved and back": {
		tenants: 2,
		stages: []stage{
			create("key"),
			{name: "move", do: func(r *run) { r.move(1) }},
			{name: "move back", do: func(r *run) { r.move(0) }},
		},
		writes: 7,
	},

	"expire and issue anew": {
		stages: []stage{
			create("key", expiresIn("30d")),
			{name: "a month", do: nothing, pass: 31 * day},
			create("b"),
			{name: "ask for another", do: func(r *run) { r.askForRotation("key") }},
			{name: "revoke the other", do: func(r *run) { r.revoke("b") }},
		},
		writes: 16,
	},

	"expire and issue anew as the place is given back": {
		withoutVerifiers: true,
		stages: []stage{
			create("key", expiresIn("30d")),
			{
				name: "expire and ask for another", quiet: true,
				do: func(r *run) {
					r.clock.SetTime(r.clock.Now().Add(31 * day))
					if r.leader != nil {
						r.reconcile(target{keyKind, "key"})
					}
					r.askForRotation("key")
				},
				race: keyAndTenant,
			},
			create("b"),
		},
		writes: 10,
	},
}

func alter(change func(*corev1.Secret)) func(*run) {
	return func(r *run) { r.editSecret("key", change) }
}

// holder returns the name of the key that has the only place, or is the next to get it.
func holder(r *run) string {
	if key := r.latest().key("b"); len(key.Status.Credentials) > 0 {
		return "b"
	}
	return "a"
}
