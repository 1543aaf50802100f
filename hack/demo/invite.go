package main

import (
	"os"
	"path/filepath"
	"strings"
)

// invite prints what to paste into another terminal. It has no secrets: the shell reads the token from the cluster.
func (d *demo) invite() {
	i := invitation{bin: d.ws.bin, kubeconfig: d.cluster.kubeconfig, proxy: d.proxy}
	if os.Getenv("KUBECONFIG") == "" { // Whoever has a cluster has a kubectl; this control plane comes with its own.
		i.kubectl = d.cluster.kubectl
	}
	d.say.step("Running until you press Ctrl-C. In another terminal:")
	d.say.block(i.setUp())
	d.say.block(i.call())
	d.say.step("The settings page, in your browser, with that terminal's rights (--no-browser prints its link only):")
	d.say.block(i.open())
}

// invitation is what the lines to paste depend on.
type invitation struct {
	// bin is the folder of this project's programs, and kubectl the path of a kubectl for users who have none.
	bin, kubectl string
	kubeconfig   string
	proxy        string // its address
}

// setUp returns the lines that make a shell use the cluster, with bin/ on its PATH: kubectl finds its plugin
// kubectl-apikey there.
func (i invitation) setUp() string {
	path := shell(i.bin) + ":$PATH"
	if i.kubectl != "" { // Last: a user's own kubectl takes precedence.
		path += ":" + shell(filepath.Dir(i.kubectl))
	}
	return "export KUBECONFIG=" + shell(i.kubeconfig) + "\nexport PATH=" + path
}

// call returns the lines that call the API with a key, and revoke the key.
func (i invitation) call() string {
	secret := shell("get", "secret", "-n", sampleNamespace, sampleKey, "-o", "jsonpath={.data.token}")
	revoke := shell("patch", "apikey", "-n", sampleNamespace, sampleKey, "--type=merge", "-p",
		`{"spec":{"state":"Revoked"}}`)
	return strings.Join([]string{
		"kubectl get apikeys -A",
		"TOKEN=$(kubectl " + secret + " | base64 -d)",
		"curl -i http://" + i.proxy + `/api/products -H "Host: ` + sampleHost + `" \`,
		`    -H "Authorization: Bearer $TOKEN" -H "X-Tenant-ID: ` + sampleTenant + `"`,
		"kubectl " + revoke,
	}, "\n")
}

// open returns the line that opens the settings page.
func (i invitation) open() string { return shell("kubectl", "apikey", "ui", "-n", sampleNamespace) }
