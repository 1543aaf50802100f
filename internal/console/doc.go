// Package console is the settings page of a tenant's keys: the list, live, with what a person may do about it. It has no
// rights, no account and no store of its own: whoever uses it acts with their own, and the API server decides.
//
//	browser ── pages, assets ─────────────▶ pages.go ──── html/template
//	        ── /api/…/stream ─────────────▶ stream.go ─┐
//	        ── /api/…/keys/NAME ──────────▶ details.go ├─ keys.Client ── the user's bearer token ──▶ API server
//	        ── POST /api/…/keys[/NAME/…] ─▶ change.go ─┘
//
// Whose rights those are, a visit says (session.go): the bearer token is in a sealed cookie since the log-in, or comes with
// each request from an OIDC proxy; or, on the user's own machine, there is one user, that of the kubeconfig. There is no
// anonymous visit, and the credentials that the program itself may have been started with are thrown away.
//
// An API key's token passes through here once: from its Secret, read with the user's rights, into the last line of the answer
// to the request that made it. No URL shows it again. It is in no log, no cookie and no page.
package console
