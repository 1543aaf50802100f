// Package explore stops the controllers before and after every single write, answers each with every fault, shows them
// every earlier state, and checks after each write that the invariants of docs/architecture.md hold.
//
// A run plays one scenario on a real API server with one plan of faults. Reconciliations are coroutines that stop at
// every write, so the run alone decides what happens next, and in which process:
//
//	scenario ─ stages: what users do ┐
//	plan ───── faults, by write ─────┤
//	                                 run ─ answers each write ─ API server
//	processes: the controllers ──────┤          │
//	verifiers: behind by a step ─────┘          └ invariants, looked at from outside
//
// A run without faults finds the writes, the states and the points where two controllers may take turns, and then every
// one of them gets a run of its own. Smaller efforts than full (see package effort) play a fixed part of those runs.
package explore
