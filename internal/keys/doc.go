// Package keys is what people do with keys, shared by the command kubectl apikey and the settings page. It lists keys
// and derives the state of each, creates, rotates, suspends and revokes them and waits for the result, explains what a
// key may do, and warns where a GitOps tool would undo a manual change.
//
//	people ── cmd/kubectl-apikey ──┐
//	                               ├─ keys: rows, states, advice, owners, scopes (pure) ── Client ── API server
//	people ── a page ──────────────┘
//
// It acts through the Kubernetes API alone, with the rights of the person who uses it: the API server decides what
// those allow. Everything but Client is pure: it takes objects and a time, and returns what to show.
package keys
