#!/bin/sh
# Makes sure that a Kubernetes control plane for tests, the demo and benchmarks is at hand, and prints the folder that
# holds it. Progress goes to standard error, so that the folder is all there is on standard output.
#
#   ensure.sh [BINARY...]     default: etcd kube-apiserver kube-controller-manager kubectl
#
# KUBEBUILDER_ASSETS wins where it is set. Otherwise the binaries are in bin/k8s/<version>: downloaded by setup-envtest
# where it can (it has no kube-controller-manager), and what is still missing is built from the Go modules that this
# folder's go.mod pins: about 10 minutes on two cores the first time, seconds from Go's build cache.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
wanted=${*:-etcd kube-apiserver kube-controller-manager kubectl}

say() { printf '%s\n' "$*" >&2; }

missing_in() { # missing_in DIR: the wanted binaries that DIR does not hold
	missing=
	for binary in $wanted; do
		[ -x "$1/$binary" ] || missing="$missing $binary"
	done
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
	missing_in "$KUBEBUILDER_ASSETS"
	if [ -n "$missing" ]; then
		say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks:$missing. Add them, or unset it to have them built."
		exit 1
	fi
	printf '%s\n' "$KUBEBUILDER_ASSETS"
	exit 0
fi

version=$(cd "$here" && go list -m -f '{{.Version}}' k8s.io/kubernetes)
dir=$top/bin/k8s/${version#v}
mkdir -p "$dir"

download() { # copies what setup-envtest can fetch; a network that refuses it is no fault
	say "control plane: asking setup-envtest for ${version#v} (set ENVTEST_DOWNLOAD=no to build at once)"
	log=$dir/.download.log
	(cd "$top/hack/tools" && exec go tool setup-envtest use "${version#v}" --bin-dir "$dir/.envtest" -p path) >"$log" 2>&1 &
	pid=$!
	trap 'kill "$pid" 2>/dev/null || :; rm -f "$log"; exit 130' INT TERM HUP
	waited=0
	while kill -0 "$pid" 2>/dev/null; do
		if [ "$waited" -ge 180 ]; then
			kill "$pid" 2>/dev/null || :
		fi
		sleep 1
		waited=$((waited + 1))
	done
	trap - INT TERM HUP
	if wait "$pid"; then
		from=$(tail -n 1 "$log")
		for binary in $missing; do
			[ -x "$from/$binary" ] && cp "$from/$binary" "$dir/.new-$binary" && mv "$dir/.new-$binary" "$dir/$binary"
		done
	else
		say "control plane: no download ($(tail -n 1 "$log" | cut -c1-160)); building it from Go modules instead"
	fi
	if [ -d "$dir/.envtest" ]; then # setup-envtest leaves it without write permission
		chmod -R u+w "$dir/.envtest" && rm -rf "$dir/.envtest"
	fi
	rm -f "$log"
}

package_of() {
	case $1 in
	etcd) echo go.etcd.io/etcd/server/v3 ;;
	*) echo "k8s.io/kubernetes/cmd/$1" ;;
	esac
}

build() { # build BINARY: from the pinned modules, stamped with their version; an unstamped one prints no semver
	v=${version#v}
	stamp="k8s.io/component-base/version"
	"$top/hack/go-build.sh" "$here" "$(package_of "$1")" "$dir/$1" \
		"-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=${v%%.*} -X $stamp.gitMinor=$(echo "$v" | cut -d. -f2) -X $stamp.gitTreeState=clean"
}

missing_in "$dir"
if [ -n "$missing" ] && [ "${ENVTEST_DOWNLOAD:-yes}" != no ]; then
	download
	missing_in "$dir"
fi
for binary in $missing; do
	build "$binary"
done
printf '%s\n' "$dir"
