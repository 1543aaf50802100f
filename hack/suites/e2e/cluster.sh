#!/usr/bin/env bash
# Runs a command against a Kubernetes cluster of one real node, which exists as long as the command runs:
#
#   cluster.sh COMMAND [ARG...]
#   cluster.sh --check             only says whether this machine can have a node
#
# ASSETS has the folders of Kubernetes' programs, separated by colons, and IMAGES the archives of the images that pods run,
# including the pause container's. The command has KUBECONFIG, CONTAINERD_ADDRESS, and the programs in its PATH.
#
# The node has its own network, mount and process namespaces (node.sh), so everything that it starts, mounts and configures ends
# with it. This script removes the rest: a work folder and control groups. It changes nothing else on the machine.
#
# Exits with the command's code; with 1 if something is missing that can be installed; and with 3 if the kernel or the rights
# for a node are missing. In both cases it says what is missing.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
name=apikey-e2e-$$ # Of the control groups and the work folder.
work=

skip() {
	printf 'e2e: SKIPPED: %s\n' "$*" >&2
	exit 3
}

require_programs() {
	local missing=() program
	PATH=$PATH:/usr/sbin:/sbin
	for program in containerd ctr runc iptables ip unshare setpriv openssl; do
		command -v "$program" >/dev/null || missing+=("$program")
	done
	[ -x /usr/lib/cni/ptp ] || missing+=(/usr/lib/cni/ptp)
	if ((${#missing[@]} > 0)); then
		printf 'e2e: missing: %s. Debian: apt-get install %s\n' "${missing[*]}" \
			'containerd runc containernetworking-plugins iptables iproute2 openssl' >&2
		exit 1
	fi
}

# What a node requires, tried in temporary namespaces.
require_kernel() {
	[ "$(id -u)" = 0 ] || skip "a node needs root"
	unshare --net --mount --pid --fork --mount-proc true 2>/dev/null ||
		skip "no right to make network, mount and process namespaces (CAP_SYS_ADMIN)"
	unshare --net sh -c 'ip link add node0 type bridge && ip link add name pod0 type veth peer name pod1' >/dev/null 2>&1 ||
		skip "the kernel has no bridge or veth, or no right to make one (CAP_NET_ADMIN)"
	unshare --net sh -c 'iptables -w -t nat -A OUTPUT -p tcp -m comment --comment e2e -m statistic --mode random --probability 0.5 \
		-j REDIRECT --to-ports 1' >/dev/null 2>&1 || skip "the kernel lacks what iptables needs for Services (nat, statistic, comment)"
	mkdir "$work/lower" "$work/upper" "$work/over"
	unshare --mount mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/over" "$work/lower" 2>/dev/null ||
		skip "no overlay file system in $work: set TMPDIR to a folder on a disk"
}

hierarchies() { # the roots of the control groups: one for each controller (version 1), or the only one (version 2)
	if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
		echo /sys/fs/cgroup
	else
		find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
	fi
}

make_cgroups() {
	local root file
	while read -r root; do
		mkdir "$root/$name" 2>/dev/null || skip "no right to make a control group in $root"
		for file in cpuset.cpus cpuset.mems; do # In version 1 a group without these can't have a process.
			if [ -e "$root/cgroup.clone_children" ] && [ -e "$root/$file" ]; then
				cat "$root/$file" >"$root/$name/$file"
				echo 1 >"$root/$name/cgroup.clone_children"
			fi
		done
	done < <(hierarchies)
}

remove() { # remove NAME: the control groups and work folders of that name
	local root tries
	while read -r root; do
		for ((tries = 0; tries < 50; tries++)); do # Killed processes take a moment to disappear.
			[ -d "$root/$1" ] || break
			find "$root/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.2
		done
		[ ! -d "$root/$1" ] || printf 'e2e: %s stays behind\n' "$root/$1" >&2
	done < <(hierarchies)
	rm -rf --one-file-system "${TMPDIR:-/tmp}/$1".??????
}

clean_up() {
	trap '' INT TERM HUP
	remove "$name"
}

# Remove what is left of a run that was killed (-9) before it could clean up.
remove_orphans() {
	local path
	while read -r path; do
		path=${path##*/}
		path=${path%.*}
		[ -d "/proc/${path##*-}" ] || remove "$path"
	done < <(find "${TMPDIR:-/tmp}" -maxdepth 1 -type d -name 'apikey-e2e-*.??????')
}

if [ $# -eq 0 ]; then
	echo "usage: $0 COMMAND [ARG...] | --check" >&2
	exit 2
fi
trap clean_up EXIT
trap 'exit 130' INT TERM HUP
require_programs
remove_orphans
work=$(mktemp -d "${TMPDIR:-/tmp}/$name.XXXXXX")
require_kernel
make_cgroups
[ "$1" != --check ] || exit 0

# It runs in the background and is waited for, so that a signal is handled at once. The first process of the namespace ends
# with this script, and every other one with that.
exec 3<&0
NAME=$name WORK=$work setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private \
	"$here/node.sh" "$@" <&3 &
node=$!
trap '{ kill -KILL "$node"; wait "$node" || :; } 2>/dev/null; exit 130' INT TERM HUP
code=0
wait "$node" || code=$?
exit "$code"
