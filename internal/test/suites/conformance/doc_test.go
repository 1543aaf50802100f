// Package conformance asks every proxy the same questions, set up as its guide says, and writes the answers into a
// table of docs/guides/README.md.
//
//	rows ──▶ client ──▶ ┌───────┐ as docs/guides ┌──────────┐
//	                    │ proxy ├───────────────▶│ upstream │ remembers what has come
//	                    └───┬───┘                └──────────┘
//	                        ▼
//	                    ┌──────┐    ┌──────────┐
//	                    │ gate ├───▶│ verifier │ or what stands in for one
//	                    └──────┘    └──────────┘
//
// A row is a question and a procedure, and each set-up is a column. A cell is what a user of the proxy sees. What must
// hold for every proxy is no cell but a fault: nothing forged reaches the upstream, no token does, nothing passes
// without a verifier. The test fails if there is a fault, or if the table is another one than the page has:
//
//	make guides-table    # writes the table
//
// The gate is a proxy's own. It holds up or cuts the connections to the verifier, so that what happens to one proxy's
// verifier happens to no other's, and all proxies are asked at the same time.
package conformance_test
