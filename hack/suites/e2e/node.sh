#!/usr/bin/env bash
# The inside of cluster.sh: starts a control plane, containerd, a kubelet and kube-proxy, and runs a command. It is the first
# process of its namespace: everything ends with it. Addresses and ports are fixed, because nobody else uses this network.
set -euo pipefail

node=10.200.0.1     # The node's address, and the API server's.
services=10.96.0.0/16
pods=10.201.0.0/24
run=$WORK/run       # The programs' data.
logs=$WORK/logs
export PATH=$ASSETS:$PATH:/usr/sbin:/sbin KUBECONFIG=$WORK/admin.kubeconfig CONTAINERD_ADDRESS=$run/containerd.sock
started=()

fail() {
	printf 'e2e: %s\n' "$*" >&2
	tail -v -n 15 "$logs"/*.log >&2
	exit 1
}

start() { # start PROGRAM ARG...: in the background, with a log of its own
	local program=$1
	shift
	"$program" "$@" >"$logs/$program.log" 2>&1 3<&- &
	started+=("$! $program")
}

wait_for() { # wait_for WHAT COMMAND...: until it succeeds, for a minute at most, and only while everything runs
	local what=$1 deadline=$((SECONDS + 60)) each
	shift
	until "$@" >/dev/null 2>&1; do
		for each in "${started[@]}"; do
			kill -0 "${each%% *}" 2>/dev/null || fail "${each#* } has ended while $what was waited for"
		done
		((SECONDS < deadline)) || fail "$what: not within a minute"
		sleep 0.2
	done
}

# Mounts are seen in this namespace only.
isolate_files() {
	local dir
	mount --make-rshared / # Containers see later mounts in their volumes.
	# What programs write to the machine's folders goes to the work folder.
	mount -t tmpfs tmpfs /run
	for dir in /etc /var/lib /var/log; do
		mkdir -p "$WORK/over$dir/upper" "$WORK/over$dir/work"
		mount -t overlay overlay -o "lowerdir=$dir,upperdir=$WORK/over$dir/upper,workdir=$WORK/over$dir/work" "$dir"
	done
}

# The kubelet would set these for the whole machine. It finds files here instead, with the values that it wants.
shield_sysctls() {
	local setting file
	for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
		kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
		file=$WORK/sysctl/${setting%=*}
		mkdir -p "$(dirname "$file")"
		echo "${setting#*=}" >"$file"
		mount --bind "$file" "/proc/sys/${setting%=*}"
	done
}

make_network() {
	ip link set lo up
	ip link add node0 type bridge # Every kernel has it; dummy is rarer.
	ip addr add "$node/24" dev node0
	ip link set node0 up
	ip route add default via 10.200.0.254 dev node0 # Nobody is there: the kubelet and kube-proxy require a default route.
	echo 1 >/proc/sys/net/ipv4/ip_forward
}

kubeconfig() { # kubeconfig FILE TOKEN
	cat >"$1" <<-END
		apiVersion: v1
		kind: Config
		clusters: [{name: e2e, cluster: {server: "https://$node:6443", certificate-authority: $run/certs/apiserver.crt}}]
		users: [{name: e2e, user: {token: $2}}]
		contexts: [{name: e2e, context: {cluster: e2e, user: e2e}}]
		current-context: e2e
	END
}

start_control_plane() {
	local admin kubelet
	admin=$(openssl rand -hex 16)
	kubelet=$(openssl rand -hex 16)
	printf '%s,admin,1,system:masters\n%s,system:node:node,2,system:nodes\n' "$admin" "$kubelet" >"$WORK/tokens.csv"
	kubeconfig "$KUBECONFIG" "$admin"
	kubeconfig "$WORK/kubelet.kubeconfig" "$kubelet"
	openssl genrsa -out "$WORK/accounts.key" 2048 2>/dev/null

	start etcd --data-dir="$run/etcd" --unsafe-no-fsync --log-level=warn \
		--listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
		--listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
		--initial-cluster=default=http://127.0.0.1:2380
	# It makes a certificate for its addresses, including the Service's.
	start kube-apiserver --etcd-servers=http://127.0.0.1:2379 --cert-dir="$run/certs" --advertise-address="$node" --secure-port=6443 \
		--service-cluster-ip-range="$services" --service-account-issuer=https://kubernetes.default.svc \
		--service-account-key-file="$WORK/accounts.key" --service-account-signing-key-file="$WORK/accounts.key" \
		--token-auth-file="$WORK/tokens.csv" --authorization-mode=Node,RBAC --kubelet-preferred-address-types=InternalIP
	wait_for "the API server" kubectl get --raw /readyz
	start kube-controller-manager --kubeconfig="$KUBECONFIG" --leader-elect=false --bind-address=127.0.0.1 --cert-dir="$run/certs" \
		--service-account-private-key-file="$WORK/accounts.key" --root-ca-file="$run/certs/apiserver.crt" \
		--use-service-account-credentials --flex-volume-plugin-dir="$run/flex"
	start kube-scheduler --kubeconfig="$KUBECONFIG" --leader-elect=false --bind-address=127.0.0.1 --secure-port=0
}

start_containerd() {
	local image
	mkdir -p "$run/cni"
	# A route for each pod instead of a bridge: traffic between pods through a Service then passes iptables both ways.
	cat >"$run/cni/10-e2e.conflist" <<-END
		{"cniVersion": "1.0.0", "name": "e2e", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local",
			"dataDir": "$run/ipam", "ranges": [[{"subnet": "$pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
	END
	# restrict_oom_score_adj: without CAP_SYS_RESOURCE, runc fails to give containers a score below its own.
	cat >"$WORK/containerd.toml" <<-END
		version = 2
		root = "$run/containerd"
		state = "$run/containerd-state"
		[grpc]
		  address = "$CONTAINERD_ADDRESS"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "docker.io/library/e2e:dev"
		  restrict_oom_score_adj = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$run/cni"
	END
	start containerd --config "$WORK/containerd.toml"
	wait_for containerd ctr version
	for image in $IMAGES; do
		ctr --namespace k8s.io images import "$image" >/dev/null
	done
}

start_kubelet() {
	# Secrets reach files when a pod is synchronized: sooner than once a minute. Images are never collected, even if the
	# disk is full.
	cat >"$WORK/kubelet.yaml" <<-END
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		failCgroupV1: false
		failSwapOn: false
		cgroupDriver: cgroupfs
		cgroupRoot: /$NAME
		enforceNodeAllocatable: []
		address: $node
		authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
		authorization: {mode: AlwaysAllow}
		containerRuntimeEndpoint: unix://$CONTAINERD_ADDRESS
		syncFrequency: 10s
		imageGCHighThresholdPercent: 100
		evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
		volumePluginDir: $run/flex
		podLogsDir: $logs/pods
		resolvConf: ""
	END
	start kubelet --config="$WORK/kubelet.yaml" --kubeconfig="$WORK/kubelet.kubeconfig" --hostname-override=node --node-ip="$node" \
		--root-dir="$run/kubelet" --cert-dir="$run/kubelet-certs"
	# The limits of connection tracking belong to the machine.
	start kube-proxy --kubeconfig="$KUBECONFIG" --hostname-override=node --proxy-mode=iptables --cluster-cidr="$pods" \
		--conntrack-max-per-core=0 --conntrack-min=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
	wait_for "the node" kubectl get node node
	wait_for "the node" kubectl wait --for=condition=Ready node/node --timeout=1s
	wait_for "the account of pods" kubectl get serviceaccount default
}

mkdir -p "$run" "$logs/pods"
isolate_files
shield_sysctls
make_network
start_control_plane
start_containerd
start_kubelet
printf 'e2e: the node is up after %d s\n' "$SECONDS" >&2

code=0
"$@" || code=$?
for each in "${started[@]}"; do
	kill -0 "${each%% *}" 2>/dev/null || fail "${each#* } has ended before its time"
done
exit "$code"
