#!/bin/sh
# The end-to-end test: builds what its node needs, and runs the test there. See cluster.sh for the requirements; if the kernel
# or the rights for a node are missing, it says so and succeeds.
#
#   run.sh [COMMAND [ARG...]]     runs another command instead of the test, such as a shell
#
# With E2E_UPGRADE=1 the test is another one: it builds the last release (hack/releases.txt), installs that, upgrades to the
# image of this tree, and goes back.
#
# It requires bin/image.tar (make image), and caddy and helm in bin/tools.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
out=$top/bin/e2e
arch=$(go env GOHOSTARCH)

code=0
"$here/cluster.sh" --check || code=$?
case $code in
0) ;;
3) exit 0 ;;
*) exit "$code" ;;
esac

cd "$top"
mkdir -p "$out"
CGO_ENABLED=0 GOOS='' GOARCH='' go build -trimpath -buildvcs=false -o "$out/linux/$arch/workload" ./hack/suites/e2e/workload
cp bin/tools/caddy "$out/caddy"
hack/image.sh e2e:dev "$out/workload.tar" "$here/Dockerfile" workload "$out" "$arch"
hack/image.sh e2e-caddy:dev "$out/caddy.tar" "$here/Dockerfile" caddy "$out" "$arch"
go test -c -tags e2e -o "$out/e2e.test" ./hack/suites/e2e

assets=$(hack/tools/controlplane/ensure.sh)
# KUBEBUILDER_ASSETS may lack these.
assets=$assets:$(KUBEBUILDER_ASSETS='' hack/tools/controlplane/ensure.sh kube-scheduler kubelet kube-proxy)

export ASSETS="$assets" IMAGES="$out/workload.tar $out/caddy.tar bin/image.tar"
test=TestNode
if [ -n "${E2E_UPGRADE:-}" ]; then
	test=TestUpgrade
	last=$(grep -v '^#' hack/releases.txt | tail -n 1)
	RELEASE=$out/release RELEASE_IMAGE=apikey-operator:${last% *}
	rm -rf "$RELEASE" && mkdir "$RELEASE"
	if ! git archive --format=tar --output="$out/release.tar" "${last#* }"; then
		echo "e2e: commit ${last#* } of the release ${last% *} is missing; in a shallow clone: git fetch --unshallow" >&2
		exit 1
	fi
	tar -x -f "$out/release.tar" -C "$RELEASE"
	make -C "$RELEASE" --no-print-directory image "ARCHS=$arch" "IMAGE=$RELEASE_IMAGE" "VERSION=${last% *}"
	export RELEASE RELEASE_IMAGE IMAGES="$IMAGES $RELEASE/bin/image.tar"
fi
if [ $# -gt 0 ]; then
	exec "$here/cluster.sh" "$@"
fi
exec "$here/cluster.sh" "$out/e2e.test" -test.v -test.timeout 18m -test.run "^$test\$"
