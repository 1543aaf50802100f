package docs_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// knows is a script in place of kubectl. It answers what docs/examples/ask.sh asks.
const knows = `#!/bin/sh
case $* in
*configmap*) cat '%s' ;;
*secretName*) echo storefront ;;
*tenantID*) echo 3714240b-2e06-4c35-8856-ccc1c096323e ;;
*'get secret'*) echo 'header = "Authorization: Bearer nxc_live_any"' ;;
esac
`

// TestAskChecksWhoAnswers checks that docs/examples/ask.sh sends a token to the verifier, and to nobody who answers in
// its place with a certificate of another authority or for another name. It fails with --insecure in place of --cacert.
// TestQuickStart runs the same script on a cluster.
func TestAskChecksWhoAnswers(t *testing.T) {
	need.Program(t, "curl")
	trusted := authority.New(t)
	r := &reader{folder: t.TempDir(), Installation: &install.Installation{ControlPlane: &controlplane.ControlPlane{}}}
	r.Kubectl = filepath.Join(t.TempDir(), "kubectl")
	if err := os.WriteFile(r.Kubectl, fmt.Appendf(nil, knows, trusted.File), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(controlplane.Root(), "docs"), filepath.Join(r.folder, "docs")); err != nil {
		t.Fatal(err)
	}
	const ask = "docs/examples/ask.sh warehouse storefront GET https://your-nexuscommerce.com/api/products >said 2>&1"
	for name, test := range map[string]struct {
		signer *authority.Authority
		name   string
		script string
		asked  int32
	}{
		"the verifier":      {trusted, verifierName, ask + " || { cat said; exit 1; }", 1},
		"another authority": {authority.New(t), verifierName, "! " + ask + " && grep -q certificate said", 0},
		"another name":      {trusted, metricsName, "! " + ask + " && grep -qi 'certificate\\|subject name' said", 0},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, err := tls.LoadX509KeyPair(test.signer.Serving(t, test.name))
			if err != nil {
				t.Fatal(err)
			}
			var asked atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // Of each handshake that a client breaks off.
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
			server.StartTLS()
			defer server.Close()
			r.run(t, "export VERIFIER='"+r.at(t, verifierName, server.Listener.Addr().String())+"'\n"+test.script)
			if n := asked.Load(); n != test.asked {
				t.Errorf("%d requests, want %d", n, test.asked)
			}
		})
	}
}
