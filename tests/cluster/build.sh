#!/usr/bin/env bash
# Readies a machine for cluster.sh: Debian's packages, Kubernetes 1.37 (one binary, `kube`, and links to it), CoreDNS and containerd 2.4.
#
# The first time takes 10 to 25 minutes on two cores, later runs a second. Everything lands in $KUBE_BIN.
# Exit status 3: it is not there, and cannot be built without Go.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
KUBE_BIN=${KUBE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/plexus/kube}
containerd=github.com/containerd/containerd/v2
containerd_version=v2.4.2
export PATH="$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin"

# program:Debian package
tools=(runc:runc iptables:iptables nft:nftables conntrack:conntrack ip:iproute2 openssl:openssl gcc:gcc busybox:busybox-static
    ethtool:ethtool socat:socat pgrep:procps python3:python3 nsenter:util-linux curl:curl
    /usr/lib/cni/portmap:containernetworking-plugins)

install_tools() {
    local tool missing=()
    for tool in "${tools[@]}"; do
        command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
    done
    ((${#missing[@]})) || return 0
    if ! command -v apt-get >/dev/null; then
        echo "missing; install the packages: ${missing[*]}" >&2
        return 1
    fi
    echo "installing with apt-get: ${missing[*]}" >&2
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
}

build_kubernetes() {
    local version minor work package=k8s.io/component-base/version
    version=$(sed -n 's/^.*k8s\.io\/kubernetes \(v[0-9.]*\).*$/\1/p' "$here/kube/go.mod" | head -n 1)
    minor=${version#v1.}
    minor=${minor%%.*}
    # A copy: the sources may be read-only, and go writes beside them.
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the path is known now
    trap "rm -rf '$work'" EXIT
    cp "$here"/kube/* "$work/"
    (
        cd "$work"
        go build -trimpath -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor" -o "$KUBE_BIN/kube.new" .
    )
    mv "$KUBE_BIN/kube.new" "$KUBE_BIN/kube"
    for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubeadm kubelet kube-proxy kubectl; do
        ln -sf kube "$KUBE_BIN/$name"
    done
}

# What kubeadm installs into a cluster that it makes (tests/ansible).
build_coredns() {
    local work
    work=$(mktemp -d)
    cp "$here"/coredns/* "$work/"
    (cd "$work" && go build -trimpath -ldflags "-s -w" -o "$KUBE_BIN/coredns" .) || { rm -rf "$work"; return 1; }
    rm -rf "$work"
}

build_containerd() {
    GOBIN=$KUBE_BIN go install -trimpath -ldflags "-s -w -X $containerd/version.Version=$containerd_version" \
        "$containerd"/cmd/{containerd,ctr,containerd-shim-runc-v2}@"$containerd_version"
}

install_tools
mkdir -p "$KUBE_BIN"
# What the binaries are made of; another answer means another build.
built=$(cat "$here"/{kube,coredns}/{main.go,go.mod,go.sum} <(echo "$containerd_version") | sha256sum)
[[ $(cat "$KUBE_BIN/.built" 2>/dev/null) == "$built" ]] && exit 0
if ! command -v go >/dev/null; then
    echo "the test cluster's Kubernetes is built with Go, and there is no Go here: install Go 1.26 or later (or copy $KUBE_BIN from a machine that has it)" >&2
    exit 3
fi
echo "building Kubernetes, CoreDNS and containerd into $KUBE_BIN (once; 10 minutes and more)" >&2
export CGO_ENABLED=0
build_kubernetes
build_coredns
build_containerd
echo "$built" >"$KUBE_BIN/.built"
