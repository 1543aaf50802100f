#!/usr/bin/env bash
# Shows what a newcomer meets: runs make targets on a Debian that has only Go, git, make and gcc, in a clean clone of HEAD,
# with empty caches, as an ordinary user.
#
#   fresh.sh [TARGET...]    default: demo test. They run one after another in one clone; demo twice, to measure it warm too.
#
# Prints each command's exit code and times, and writes them to bin/fresh.json. Exits with 0 if every command did. The script
# itself needs root, to make the root file system, and debootstrap (Debian: debootstrap). It passes on this machine's settings
# for reaching registries: proxies, package indexes, certificates. It leaves nothing behind except bin/fresh.json.
set -euo pipefail

fail() {
	echo "fresh.sh: $*" >&2
	exit 2
}

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
targets=("$@")
((${#targets[@]} > 0)) || targets=(demo test)
for target in "${targets[@]}"; do
	[[ $target =~ ^[a-z-]+$ ]] || fail "$target is not the name of a make target"
done
[ "$(id -u)" = 0 ] || fail "only root can make an empty root file system. What it runs there, it runs as an ordinary user: sudo $0 ${targets[*]}"
command -v go >/dev/null || fail "Go is missing"
for program in debootstrap unshare chroot git; do
	command -v "$program" >/dev/null || fail "$program is missing (Debian: apt-get install debootstrap util-linux git)"
done
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' # The checkout may belong to another account.
commit=$(git rev-parse HEAD)
git diff --quiet HEAD -- || echo "fresh.sh: changes that are not committed are not part of this" >&2

# Mounts are in their own namespace, and end with the last process in it.
root=$(mktemp -d "${TMPDIR:-/var/tmp}/fresh.XXXXXX")
inside=
cleanup() {
	trap - EXIT INT TERM HUP
	if [ -n "$inside" ] && kill -0 "$inside" 2>/dev/null; then
		kill -KILL "$inside" 2>/dev/null || true # unshare ignores other signals, and ends all processes in it.
		wait "$inside" 2>/dev/null || true
	fi
	chmod -R u+w "$root" 2>/dev/null || true # Go's modules are read-only.
	rm -rf --one-file-system "$root" || { sleep 1 && rm -rf --one-file-system "$root"; } # A process was still writing.
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

. /etc/os-release
suite=stable mirror=
if [ "${ID:-}" = debian ]; then
	suite=$VERSION_CODENAME
	# The first source of the suite itself, in either of apt's formats.
	mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } | awk -v suite="$suite" '
		$1 == "URIs:" { uri = $2 } $1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite) { print uri; exit } }
		$1 == "deb" { for (i = 2; i < NF; i++) if ($i ~ "://" && $(i + 1) == suite) { print $i; exit } }')
fi
if proxy=$(apt-config shell proxy Acquire::http::Proxy 2>/dev/null) && [ -n "$proxy" ]; then
	eval "$proxy"
	export http_proxy="${http_proxy:-$proxy}"
fi
echo "fresh.sh: Debian $suite with git, make and gcc"
log=$root.log
debootstrap --variant=minbase --include=git,make,gcc,libc6-dev,ca-certificates "$suite" "$root" ${mirror:+"$mirror"} >"$log" 2>&1 || {
	tail -n 20 "$log" >&2
	rm -f "$log"
	fail "debootstrap has failed"
}
rm -f "$log"
echo "fresh.sh: $(go version), and a clone of $commit"
mkdir -p "$root/usr/local"
cp -a "$(go env GOROOT)" "$root/usr/local/go"
home=/home/stranger
useradd --root "$root" --create-home --uid 1000 --shell /bin/bash stranger
git clone --quiet --no-local "$top" "$root$home/src"
git -C "$root$home/src" checkout --quiet --detach "$commit"
git -C "$root$home/src" remote remove origin # It does not exist there.

# Settings for reaching registries.
keep() { # keep FILE...: copies to the same place there
	local file
	for file in "$@"; do
		if [ -f "$file" ] || [ -d "$file" ]; then
			mkdir -p "$root$(dirname "$file")"
			cp -LR "$file" "$root$(dirname "$file")/" 2>/dev/null || true
		fi
	done
}
keep /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/xdg/pip /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates /etc/apt/apt.conf.d
for file in "$HOME/.config/pip/pip.conf" "$HOME/.pip/pip.conf"; do
	if [ -f "$file" ]; then
		install -D -m 644 "$file" "$root$home/.config/pip/pip.conf"
	fi
done
variables=()
while IFS= read -r name; do
	case $name in
	[hH][tT][tT][pP]_[pP][rR][oO][xX][yY] | [hH][tT][tT][pP][sS]_[pP][rR][oO][xX][yY] | [nN][oO]_[pP][rR][oO][xX][yY] | [aA][lL][lL]_[pP][rR][oO][xX][yY] | \
		PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_TRUSTED_HOST | PIP_CONFIG_FILE | PIP_DEFAULT_TIMEOUT | npm_config_registry | NPM_CONFIG_REGISTRY)
		variables+=("$name=${!name}")
		;;
	SSL_CERT_FILE | SSL_CERT_DIR | PIP_CERT | *_CA_BUNDLE | GIT_SSL_CAINFO | NODE_EXTRA_CA_CERTS)
		variables+=("$name=${!name}")
		[ "$name" = SSL_CERT_DIR ] || keep "${!name}"
		;;
	esac
done < <(compgen -e)
for name in GOPROXY GOSUMDB GONOPROXY GONOSUMDB GOPRIVATE GOINSECURE GOVCS; do
	value=$(go env "$name")
	[ -z "$value" ] || variables+=("$name=$value")
done
chown -R 1000:1000 "$root$home"

cat >"$root/enter" <<'INSIDE'
#!/bin/bash
# enter ROOT: prepares the devices, and then runs the targets as an ordinary user: see fresh.sh.
set -eu
root=$1
shift
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null:3 zero:5 full:7 random:8 urandom:9; do
	mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
cd /
# Not exec: a change of user would undo --kill-child. This shell ends with unshare, and all others with it.
chroot --userspec=1000:1000 "$root" /usr/bin/env -i "$@" || exit
INSIDE

cat >"$root/measure.sh" <<'INSIDE'
#!/bin/bash
# measure.sh TARGET...: writes one line of JSON for each command to /home/stranger/results.
cd "$HOME/src"
TIMEFORMAT='%R %U %S'
load() { cut -d' ' -f1 /proc/loadavg; }
for target; do
	for state in cold warm; do
		[ $state = cold ] || [ "$target" = demo ] || continue
		printf '\n=== make %s (%s)\n' "$target" "$state"
		before=$(load)
		{ time { make "$target" 3>&- 2>&1; code=$?; } 2>&3; } 3>&1 2>"$HOME/times"
		read -r wall user system <"$HOME/times"
		printf '=== make %s (%s): exit code %d after %s s (%s s of CPU)\n' "$target" "$state" "$code" "$wall" "$(awk "BEGIN { print $user + $system }")"
		printf '{"command": "make %s", "state": "%s", "exit": %d, "seconds": %s, "cpuSeconds": %s, "loadBefore": %s, "loadAfter": %s}\n' \
			"$target" "$state" "$code" "$wall" "$(awk "BEGIN { print $user + $system }")" "$before" "$(load)" >>"$HOME/results"
		[ "$code" = 0 ] || break # Otherwise the second run would not be warm.
	done
done
INSIDE
chmod 755 "$root" "$root/enter" "$root/measure.sh"

started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
unshare --mount --propagation private --pid --fork --kill-child=KILL "$root/enter" "$root" \
	HOME="$home" USER=stranger LANG=C.UTF-8 TERM=dumb GOTOOLCHAIN=local \
	PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/bin ${variables[@]+"${variables[@]}"} \
	/measure.sh "${targets[@]}" &
inside=$!
wait "$inside"

mkdir -p bin
{
	printf '{"commit": "%s", "started": "%s", "go": "%s", "cores": %d, "commands": [\n' "$commit" "$started" "$(go env GOVERSION)" "$(nproc)"
	sed '$!s/$/,/' "$root$home/results"
	printf ']}\n'
} >bin/fresh.json
echo
cat bin/fresh.json
! grep -vq '"exit": 0,' "$root$home/results"
