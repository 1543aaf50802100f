#!/bin/sh
# Builds an image from a stage of a Dockerfile that starts from scratch, with buildah, and without a daemon, a registry or
# rights that a container lacks, as an archive for docker load, ctr images import and kind load image-archive.
#
#   image.sh NAME OUT DOCKERFILE STAGE CONTEXT ARCH...
#
# One ARCH makes a Docker archive, several make an OCI archive with an index. The same input makes the same image.
set -eu

if [ $# -lt 6 ]; then
	echo "usage: $0 NAME OUT DOCKERFILE STAGE CONTEXT ARCH..." >&2
	exit 2
fi
name=$1 out=$2 dockerfile=$3 stage=$4 context=$5
shift 5

if ! command -v buildah >/dev/null; then
	echo "buildah is missing: install it (Debian: buildah), or build $dockerfile --target $stage with another builder" >&2
	exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# buildah requires a trust policy and registries. Nothing is pulled, so it gets neither.
echo '{"default": [{"type": "reject"}], "transports": {"containers-storage": {"": [{"type": "insecureAcceptAnything"}]}}}' >"$work/policy.json"
: >"$work/registries.conf"
export CONTAINERS_REGISTRIES_CONF="$work/registries.conf" REGISTRY_AUTH_FILE="$work/auth.json"
echo '{}' >"$REGISTRY_AUTH_FILE"
run() { # run COMMAND ARG...
	command=$1
	shift
	buildah --root "$work/root" --runroot "$work/run" --storage-driver vfs "$command" --signature-policy "$work/policy.json" "$@"
}

platforms=
for arch in "$@"; do
	platforms=${platforms:+$platforms,}linux/$arch
done
run bud --isolation chroot --pull-never --timestamp 0 --quiet --file "$dockerfile" --target "$stage" \
	--platform "$platforms" --manifest "$name" "$context" >/dev/null

mkdir -p "$(dirname "$out")"
new=$out.new # Renamed when it is complete.
rm -f "$new"
if [ $# -eq 1 ]; then
	run push --quiet "$name" "docker-archive:$new:$name"
else
	run manifest push --all --quiet "$name" "oci-archive:$new:$name"
fi
mv "$new" "$out"
