package main

import (
	"os"
	"path/filepath"
	"strings"
)

// invite says what to paste into another terminal. Nothing in it is secret: the shell reads the token from the cluster.
func (d *demo) invite() {
	d.say.step("Running until you press Ctrl-C. In another terminal:")
	d.say.block("export KUBECONFIG=" + shell(d.cluster.kubeconfig))
	if os.Getenv("KUBECONFIG") == "" { // Whoever has a cluster has a kubectl; for this one there is the one it came with.
		d.say.block("export PATH=$PATH:" + shell(filepath.Dir(d.cluster.kubectl)))
	}
	secret := shell("get", "secret", "-n", sampleNamespace, sampleKey, "-o", "jsonpath={.data.token}")
	revoke := shell("patch", "apikey", "-n", sampleNamespace, sampleKey, "--type=merge", "-p", `{"spec":{"state":"Revoked"}}`)
	d.say.block(strings.Join([]string{
		"kubectl get apikeys -A",
		"TOKEN=$(kubectl " + secret + " | base64 -d)",
		"curl -i http://" + d.proxy + `/api/products -H "Host: ` + sampleHost + `" \`,
		`    -H "Authorization: Bearer $TOKEN" -H "X-Tenant-ID: ` + sampleTenant + `"`,
		"kubectl " + revoke,
	}, "\n"))
}
