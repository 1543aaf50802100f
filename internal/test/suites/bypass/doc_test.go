// Package bypass sends requests that have become CVEs elsewhere through real proxies, and directly to each surface of
// the verifier, and checks at the upstream (S10): the key must be allowed to do whatever arrives there.
//
//	testdata/hostile.txt ─┐             ┌───────┐  as docs/guides  ┌──────────────────┐ exactly what came
//	testdata/harmless.txt ┴─ raw bytes ▶│ proxy ├─────────────────▶│ upstream         ├───────────────────▶ oracle
//	                                    └───┬───┘                  └──────────────────┘ policy, evaluated separately
//	                                        ▼
//	                                  ┌──────────┐   ┌───────────────┐
//	                                  │ verifier ├──▶│ control plane │
//	                                  └──────────┘   └───────────────┘
//
// The oracle (oracle_test.go) uses none of the verifier's code. It evaluates the policy by a few lines of its own, for
// every reading of a path and of a host that some proxy or framework is known for, and reports a fault if the key may
// not do any one of them.
//
// A case is one line of hostile.txt, which describes its form. The requests of harmless.txt must pass everywhere, so
// that a setup in which nothing passes isn't taken for a safe one.
//
// That the test can fail was seen by breaking the code. Where access.CanonicalPath takes whatever starts with a slash,
// 2,000 faults come from every proxy and surface that tells the verifier a path; where verify.Request.nominates is
// always false, 150 from the surfaces (the proxies' configurations hold by themselves); where clientip.Trust.Client
// walks X-Forwarded-For from the left, from the surfaces that read it. So they do from a proxy where its guide's file
// lacks one of the lines that take out underscores, nominations, X-Original-URL or a client's identity headers.
package bypass_test
