// Package keys is what people do with keys, whatever they do it from: the command kubectl apikey, or a page. It lists keys
// and says in one word how each is, creates, rotates, suspends and revokes them and waits for what comes of it, explains
// what a key may do, and warns where Git would undo what a hand does.
//
//	people ── cmd/kubectl-apikey ──┐
//	                               ├─ keys: rows, states, advice, owners, scopes (pure) ── Client ── API server
//	people ── a page ──────────────┘
//
// It acts through the Kubernetes API alone, with the rights of whoever uses it, and decides nothing about those: the API
// server does. All but Client is pure: objects and a time in, what to say out.
package keys
