package bypass_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// hang is how long a case may leave a proxy waiting for more. No result depends on it: a request that reaches the
// upstream later is checked, too.
const hang = 300 * time.Millisecond

// target is a proxy or a surface that cases are sent to.
type target struct {
	upstream *proxies.Upstream
	send     func(ctx context.Context, raw []byte, wait time.Duration) error
	// onlyProducts is set if it is configured for GET /api/products alone.
	onlyProducts bool
	// hidesClient is set if the verifier isn't told the client's address, so that keys with allowedCIDRs are refused.
	hidesClient bool
	// bounded is set if 100 headers are too many.
	bounded bool
}

// TestBypass sends every case through every proxy and to every surface.
func TestBypass(t *testing.T) {
	b := newTestbed(t)
	hostile, harmless := readCorpus(t, "hostile.txt", b.values), readCorpus(t, "harmless.txt", b.values)
	hostile = append(hostile, overriding(b.values)...)
	t.Run("all", func(t *testing.T) { // Ends when those beneath have, which run side by side.
		all := allProxies()
		const keeps = "caddy, which keeps underscores"
		all[keeps] = keepsUnderscores()
		for name, p := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				up := proxies.StartUpstream(t)
				at, _ := p.Start(t, b.environment(), up)
				target{
					upstream: up,
					send: func(ctx context.Context, raw []byte, wait time.Duration) error {
						_, err := send(ctx, at.HTTP1, raw, wait)
						return err
					},
					onlyProducts: p.OnlyProducts, hidesClient: p.HidesClient, bounded: p.Bounded,
				}.run(t, casesFor(name == keeps, p.Generated, hostile), harmless)
			})
		}
		for name, s := range surfaces {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				up := &proxies.Upstream{}
				target{upstream: up, send: s.behind(t, b, up), onlyProducts: s.onlyProducts, hidesClient: s.hidesClient}.run(t,
					hostile, harmless)
			})
		}
	})
}

// run sends every case to a target.
func (g target) run(t *testing.T, hostile, harmless []attack) {
	t.Helper()
	if g.onlyProducts {
		hostile = append(slices.Clip(hostile), atProducts(hostile)...)
	}
	o := newOracle()
	passed := 0
	check := func(c attack) (fine int) {
		for _, r := range g.upstream.Take() {
			if fault := o.fault(r); fault != "" {
				t.Errorf("hostile.txt:%d %s (%s)\n  sent      %.300s\n  upstream  %.300q\n  fault     %s", c.line, c.id, c.source,
					c.text, redact(r.Head), fault)
			}
			if r.Target != fenceTarget {
				fine++
			}
		}
		return fine
	}
	for _, c := range hostile {
		if err := g.send(t.Context(), c.raw, hang); err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		if check(c) > 0 {
			passed++
		}
	}
	t.Logf("%d hostile requests: of %d something reached the upstream, and the key may do that", len(hostile), passed)
	for _, c := range harmless {
		if g.onlyProducts && !strings.HasPrefix(c.id, "products-") || g.bounded && strings.HasSuffix(c.id, "-many-headers") ||
			g.hidesClient && strings.Contains(c.text, "{{nearby}}") {
			continue
		}
		if err := g.send(t.Context(), c.raw, timeout); err != nil {
			t.Fatalf("%s: %v", c.id, err)
		}
		if check(c) != 1 {
			t.Errorf("harmless.txt:%d %s does not reach the upstream", c.line, c.id)
		}
	}
}

// redact removes tokens from text that is printed.
func redact(head string) string {
	lines := strings.Split(head, "\r\n")
	for i, line := range lines {
		if start, _, found := strings.Cut(line, "nxc_"); found {
			lines[i] = start + "[token]"
		}
	}
	return strings.Join(lines, "\r\n")
}
