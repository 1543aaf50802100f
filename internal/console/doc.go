// Package console is the settings page of a tenant's keys: the list, live, with the changes that a person may make. It
// has no rights, no accounts and no store of its own: its users act with their own rights, and the API server decides.
//
//	browser ── pages, assets ─────────────▶ pages.go ──── html/template
//	        ── /api/…/stream ─────────────▶ stream.go ─┐
//	        ── /api/…/keys/NAME ──────────▶ details.go ├─ keys.Client ── the user's bearer token ──▶ API server
//	        ── POST /api/…/keys[/NAME/…] ─▶ change.go ─┘
//
// A visitor says whose rights those are (session.go). The bearer token is in a sealed cookie since the user signed in,
// or an OIDC proxy adds it to each request; or, on the user's own machine, there is one user, that of the kubeconfig.
// Nobody is anonymous, and the program's own credentials are not used.
//
// An API key's token passes through here once: from its Secret, read with the user's rights, into the last line of the
// answer to the request that created or rotated it. No URL shows it again. It is in no log, no cookie and no page.
package console
