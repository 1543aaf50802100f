package main

import (
	"context"
	"os"
	"os/exec"
	"strings"
)

// extra has the programs that other steps of .ci/run need: where each may be, and the Debian package that contains it.
var extra = []struct{ places, packages, without string }{
	{"make", "make", "everything"},
	{"git", "git", "the version; make verify"},
	{"awk", "mawk", "make help"},
	{"/etc/ssl/certs/ca-certificates.crt", "ca-certificates", "downloads"},
	{"npm", "npm", "make axe"},
	{"buildah", "buildah", "make image"},
	{"containerd", "containerd", "make e2e"},
	{"runc /usr/sbin/runc", "runc", "make e2e"},
	{"/usr/lib/cni/ptp", "containernetworking-plugins", "make e2e"},
	{"iptables /usr/sbin/iptables", "iptables", "make e2e"},
	{"ip /usr/sbin/ip", "iproute2", "make e2e"},
	{"wrk", "wrk", "make bench"},
	{"h2load", "nghttp2-client", "make bench"},
	{"taskset", "util-linux", "make bench"},
}

// prepare installs what .ci/run needs, as far as Debian has packages for it. The rest is brought by the targets that
// need it.
func prepare(ctx context.Context) int {
	top, err := os.Getwd()
	if err != nil {
		say("%v", err)
		return 1
	}
	here, err := thisMachine(top)
	if err != nil {
		say("%v", err)
		return 1
	}
	rows := append([]row{here.compilerRow(compiler(ctx))}, here.rows(modes["full"].folders())...)
	for _, e := range extra {
		r := row{name: strings.Fields(e.places)[0], without: e.without, how: "apt-get install " + e.packages}
		for place := range strings.FieldsSeq(e.places) {
			if _, err := os.Stat(place); err == nil {
				r.found = place
			} else if path, err := exec.LookPath(place); err == nil {
				r.found = path
			}
		}
		rows = append(rows, here.missing(r, e.packages, ""))
	}
	printTable(os.Stdout, rows)
	b := bringer{top: top, say: say}
	if err := b.install(ctx, rows); err != nil {
		say("%v", err)
		return 1
	}
	return 0
}
