package browser_test

import (
	"os"
	"testing"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/launcher"
	"github.com/go-rod/rod/lib/proto"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// chromium is a running headless Chromium.
type chromium struct {
	*rod.Browser
	// profile is the folder that it writes to.
	profile string
}

// startChromium starts Debian's Chromium, or the browser that CHROMIUM names, which trusts the certificate with a
// pinned public key. It ends with the test.
func startChromium(t *testing.T, pin string) *chromium {
	t.Helper()
	path := need.Program(t, "chromium")
	profile := t.TempDir()
	start := launcher.New().Bin(path).Leakless(false).HeadlessNew(true).UserDataDir(profile).
		NoSandbox(os.Getuid() == 0). // Its sandbox does not work for root.
		Set("ignore-certificate-errors-spki-list", pin).
		Set("disable-gpu").
		Set("hide-scrollbars").
		Set("font-render-hinting", "none"). // Screenshots are the same on every machine.
		Delete("disable-features").Set("disable-features", "Translate,MediaRouter,OptimizationHints")
	url, err := start.Launch()
	if err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	t.Cleanup(start.Kill)
	b := &chromium{Browser: rod.New().ControlURL(url), profile: profile}
	if err := b.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // It is killed if it does not.
	return b
}

// size is the size of a window.
type size struct{ width, height int }

var (
	wide   = size{1280, 900}
	narrow = size{360, 740}
)

// scheme is the color scheme that the user has chosen.
type scheme string

const (
	light scheme = "light"
	dark  scheme = "dark"
)

func (s scheme) features() []*proto.EmulationMediaFeature {
	return []*proto.EmulationMediaFeature{
		{Name: "prefers-color-scheme", Value: string(s)},
		{Name: "prefers-reduced-motion", Value: "reduce"}, // Nothing is halfway through an animation in a screenshot.
	}
}
