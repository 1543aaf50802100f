#!/bin/sh
# Makes sure that there is a Kubernetes control plane for tests, the demo and benchmarks, and prints its folder. Progress
# goes to standard error, so that standard output has only the folder.
#
#   ensure.sh [BINARY...]     default: etcd kube-apiserver kube-controller-manager kubectl
#
# If KUBEBUILDER_ASSETS is set, it is used. Otherwise the binaries are in bin/k8s/<version>, the version that this folder's
# go.mod pins: downloaded if hack/tools/fetch knows a checksum and the publisher can be reached, or else built from Go modules.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
wanted=${*:-etcd kube-apiserver kube-controller-manager kubectl}

missing_in() { # missing_in DIR: the wanted binaries that DIR lacks
	missing=
	for binary in $wanted; do
		[ -x "$1/$binary" ] || missing="$missing $binary"
	done
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
	missing_in "$KUBEBUILDER_ASSETS"
	if [ -n "$missing" ]; then
		echo "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks:$missing. Add them, or unset it to have them brought." >&2
		exit 1
	fi
	printf '%s\n' "$KUBEBUILDER_ASSETS"
	exit 0
fi

version=$(awk '$1 == "k8s.io/kubernetes" { print substr($2, 2) }' "$here/go.mod")
dir=$top/bin/k8s/$version
missing_in "$dir"
if [ -n "$missing" ]; then
	# shellcheck disable=SC2086 # It may hold several names.
	(cd "$top" && CGO_ENABLED=0 GOOS='' GOARCH='' GOFLAGS='' GOGC=off GOMEMLIMIT=512MiB go build -trimpath -o bin/fetch ./hack/tools/fetch && exec bin/fetch $missing) >&2
fi
printf '%s\n' "$dir"
