# shellcheck shell=bash
# One node: a network, mount, UTS and PID namespace with containerd, kubelet and kube-proxy. Its first process is node-init.sh, then the
# pause program: when that ends, the kernel ends all others of the node.

# on NODE COMMAND...: runs it on the node.
on() {
    local pid
    pid=$(first_process "$1") || die "node$1 is not up"
    shift
    nsenter -t "$pid" -n -m -u -p -- "$@"
}

# The pid, seen from the machine, of the node's process 1.
first_process() {
    local parent
    parent=$(running "node$1") && pgrep -P "$parent"
}

node_files() {
    local i=$1 dir=$CLUSTER/n$1
    mkdir -p "$dir"/{opt-cni/bin,etc-cni/net.d,var-lib-cni,var-lib-containerd,kubelet,manifests,pod-logs,run}
    [[ -f $PKI/node$i.crt ]] || certificate "node$i" "/O=system:nodes/CN=system:node:node$i" "DNS:node$i,IP:10.99.0.$((10 + i))"
    kubeconfig "node$i"
    cat >"$dir/containerd.toml" <<TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'registry.local/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/opt/cni/bin']
  conf_dir = '/etc/cni/net.d'
TOML
    cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /plexus-node$i
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
healthzPort: 0
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: AlwaysAllow}
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}
# Images cannot be pulled again: none is collected however full the disk is.
imageGCHighThresholdPercent: 100
maxPods: 500
enforceNodeAllocatable: []
tlsCertFile: $PKI/node$i.crt
tlsPrivateKeyFile: $PKI/node$i.key
registryPullQPS: 0
eventRecordQPS: 0
kubeAPIQPS: 200
kubeAPIBurst: 400
staticPodPath: /etc/kubernetes/manifests
clusterDNS: [10.96.0.10]
YAML
    cat >"$dir/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $CLUSTER/admin.conf}
clusterCIDR: 10.244.0.0/16
mode: nftables
hostnameOverride: node$i
conntrack: {maxPerCore: 0}
healthzBindAddress: 127.0.0.1:10256
YAML
}

# eth0 on the nodes' network.
node_network() {
    local i=$1
    ip netns add "node$i"
    ip link add "nv$i" type veth peer name eth0 netns "node$i"
    ip link set "nv$i" alias "$ALIAS"
    ip link set "nv$i" master lan0 up
    ip -n "node$i" link set lo up
    ip -n "node$i" link set eth0 up
    ip -n "node$i" addr add "10.99.0.$((10 + i))/24" dev eth0
    ip -n "node$i" route add default via 10.99.0.1
    ip netns exec "node$i" sysctl -qw net.ipv4.ip_forward=1
}

# A kubelet that does not have a cgroup of its own deletes the pods of the others.
node_cgroups() {
    local hierarchy file
    for hierarchy in /sys/fs/cgroup/*/; do
        if [[ -f $hierarchy/tasks ]]; then mkdir -p "$hierarchy/plexus-node$1"; fi
    done
    for file in cpuset.cpus cpuset.mems; do
        cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/plexus-node$1/$file" 2>/dev/null || true
    done
}

node_up() {
    local i=$1 dir=$CLUSTER/n$1 first
    node_files "$i"
    node_network "$i"
    node_cgroups "$i"
    mountpoint -q "$dir/run" || mount -t tmpfs run "$dir/run"
    spawn "node$i" nsenter --net="/run/netns/node$i" -- unshare --mount --uts --pid --fork --kill-child --propagation private \
        "$HERE/node-init.sh" "node$i" "$dir" "$CLUSTER/img/pause/pause"
    wait_for 60 test -e "$dir/run/ready"
    first=$(first_process "$i")
    local inside=(nsenter -t "$first" -n -m -u -p --)
    spawn "containerd$i" "${inside[@]}" containerd -c "$dir/containerd.toml"
    wait_for 120 test -S "$dir/run/containerd/containerd.sock"
    local image
    for image in "${IMAGES[@]}"; do import "$i" "$CLUSTER/img/$image.tar"; done
    # shellcheck disable=SC2086 # KUBELET_ARGS are words
    spawn "kubelet$i" "${inside[@]}" kubelet --config="$dir/kubelet.yaml" --kubeconfig="$CLUSTER/node$i.conf" --hostname-override="node$i" \
        --node-ip="10.99.0.$((10 + i))" ${KUBELET_ARGS:-}
    spawn "proxy$i" "${inside[@]}" kube-proxy --config="$dir/proxy.yaml"
}

# As when a machine loses its power: no process has a say.
node_down() {
    local i=$1 child name
    if child=$(first_process "$i"); then kill -KILL "$child" || true; fi
    for name in node containerd kubelet proxy; do
        stop "$name$i" -KILL
    done
    ip link del "nv$i" 2>/dev/null || true
    ip netns del "node$i" 2>/dev/null || true
    umount -l "$CLUSTER/n$i/run" 2>/dev/null || true
}
