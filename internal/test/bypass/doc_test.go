// Package bypass sends requests that have become CVEs elsewhere through real proxies, and straight at each surface of the
// verifier, and lets the upstream judge (S10): whatever reaches it must be something that the key may use.
//
//	testdata/hostile.txt ─┐             ┌───────┐  as docs/guides  ┌──────────────────┐ exactly what came
//	testdata/harmless.txt ┴─ raw bytes ▶│ proxy ├─────────────────▶│ upstream         ├───────────────────▶ judge
//	                                    └───┬───┘                  └──────────────────┘ policy, read anew
//	                                        ▼
//	                                  ┌──────────┐   ┌───────────────┐
//	                                  │ verifier ├──▶│ control plane │
//	                                  └──────────┘   └───────────────┘
//
// The judge (judge.go) knows nothing of the verifier's code: it evaluates the policy by a few lines of its own, for every
// reading of a path and of a host that some proxy or framework is known for, and refuses if any of them is beyond the key.
//
// A case is one line of hostile.txt, see there for its form. What is in harmless.txt must pass everywhere, so that a setup
// in which nothing passes isn't taken for a safe one.
//
// That the test can fail was seen by breaking the code: without the refusal of ambiguous paths (access.CanonicalPath takes
// whatever starts with a slash), of nominations (verify.Request.nominates is false), of joined or repeated tenants, or with
// the leftmost address of X-Forwarded-For, cases get through straight at every surface, and through the proxies that pass on
// what it takes; so they do where a guide's configuration lacks one of its lines.
package bypass_test
