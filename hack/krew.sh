#!/bin/sh
# Builds an archive of kubectl-apikey for each platform, and writes krew's manifest for them: apikey.yaml.
# The same source and version make the same archives. It needs GNU tar.
#
#   krew.sh OUT VERSION URL LDFLAGS OS/ARCH...
#
# URL is the folder from which the archives can be downloaded.
set -eu
cd "$(dirname "$0")/.."

if [ $# -lt 5 ]; then
	echo "usage: $0 OUT VERSION URL LDFLAGS OS/ARCH..." >&2
	exit 2
fi
out=$1 version=$2 url=$3 ldflags=$4
shift 4
case $version in
v[0-9]*.[0-9]*.[0-9]*) ;;
*) version=v0.0.0-g$version ;; # krew accepts only semantic versions.
esac

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/apikey.yaml" <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: apikey
spec:
  version: $version
  homepage: https://github.com/nexuscommerce/apikey-operator
  shortDescription: Make, list, rotate and revoke API keys
  description: |
    Keys of the API key operator from the command line: make, list, rotate, suspend and revoke them, see whose a token
    is, and what a key may do. It acts with your own rights, through the Kubernetes API alone.
  caveats: |
    It needs the operator in the cluster: https://github.com/nexuscommerce/apikey-operator
  platforms:
END
for platform; do
	os=${platform%/*} arch=${platform#*/} binary=kubectl-apikey
	if [ "$os" = windows ]; then
		binary=kubectl-apikey.exe
	fi
	folder=$work/$os-$arch
	mkdir "$folder"
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$folder/$binary" ./cmd/kubectl-apikey
	cp LICENSE "$folder/"
	archive=kubectl-apikey_${os}_$arch.tar.gz
	tar -C "$folder" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go-w -cf - LICENSE "$binary" | gzip -n9 >"$out/$archive"
	sum=$(sha256sum "$out/$archive" | cut -d ' ' -f 1)
	cat >>"$work/apikey.yaml" <<END
  - selector:
      matchLabels: {os: $os, arch: $arch}
    uri: $url/$archive
    sha256: $sum
    bin: $binary
    files:
    - {from: $binary, to: .}
    - {from: LICENSE, to: .}
END
done
mv "$work/apikey.yaml" "$out/apikey.yaml"
echo "$out/apikey.yaml: $version"
