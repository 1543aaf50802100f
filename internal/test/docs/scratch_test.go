package docs_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/program"
)

func TestScratch(t *testing.T) {
	hold := os.Getenv("DOCS_HOLD")
	if hold == "" {
		t.Skip()
	}
	cp, err := controlplane.Start(controlplane.Options{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cp.Stop() })
	for _, f := range []string{"rbac", "policy", "controller", "verifier", "samples"} {
		if out, err := cp.RunKubectl(t.Context(), "apply", "--server-side", "-k", filepath.Join(controlplane.Root(), "config", f)); err != nil {
			t.Fatal(err, out)
		}
	}
	cfg := func(a string) string { p, _ := cp.ServiceAccountKubeconfig(a); return p }
	c := program.Start(t, "/work/main/bin/apikey-controller", "--kubeconfig="+cfg("apikey-controller"), "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--expiry-warnings=1h")
	v := program.Start(t, "/work/main/bin/apikey-verifier", "--kubeconfig="+cfg("apikey-verifier"), "--name=v1", "--metrics-bind-address=127.0.0.1:38082", "--health-probe-bind-address=127.0.0.1:38081", "--http-bind-address=127.0.0.1:38080", "--trusted-proxies=127.0.0.1/32")
	_ = os.WriteFile(hold+"/kc", []byte(cp.Kubeconfig+"\n"+cfg("apikey-controller")), 0o600)
	for {
		if _, err := os.Stat(hold + "/stop"); err == nil {
			break
		}
		if _, err := os.Stat(hold + "/restart"); err == nil {
			_ = os.Remove(hold + "/restart")
			c.Kill()
			_ = os.WriteFile(hold+"/c.log", []byte(c.Log()), 0o600)
			c = program.Start(t, "/work/main/bin/apikey-controller", "--kubeconfig="+cfg("apikey-controller"), "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0", "--expiry-warnings=1h")
		}
		time.Sleep(200 * time.Millisecond)
	}
	_ = os.WriteFile(hold+"/c.log", []byte(c.Log()), 0o600)
	_ = os.WriteFile(hold+"/v.log", []byte(v.Log()), 0o600)
}
