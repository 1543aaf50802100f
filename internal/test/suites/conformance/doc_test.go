// Package conformance puts the same questions to every proxy, each configured as its guide says, and compares the
// answers with the table in docs/guides/README.md.
//
//	rows ──▶ client ──▶ ┌───────┐ as docs/guides ┌──────────┐
//	                    │ proxy ├───────────────▶│ upstream │ remembers what has come
//	                    └───┬───┘                └──────────┘
//	                        ▼
//	                    ┌──────┐    ┌──────────┐
//	                    │ gate ├───▶│ verifier │ or a server in its place
//	                    └──────┘    └──────────┘
//
// A row is a question and the requests that answer it. A column is a set-up. A cell says what a user of the proxy sees.
// Some things must hold for every proxy: nothing that a client forged reaches the upstream, no token does, and nothing
// passes without a verifier. What violates them is a fault. The test fails if there is one, or if the page has another
// table:
//
//	make guides-table    # writes the table
//
// Each proxy has a gate of its own, which can hold up or cut the proxy's connections to the verifier. So an outage
// concerns one proxy, and all of them are tested at the same time.
package conformance_test
