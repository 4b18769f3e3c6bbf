#!/usr/bin/env bash
# A real Kubernetes of N nodes on one machine, without virtual machines. README.md says how it is made.
#
#   NODES=3 cluster.sh up       start; then KUBECONFIG=$CLUSTER/admin.conf and $KUBE_BIN/kubectl
#   cluster.sh down             stop and remove everything
#   cluster.sh leftovers        what is there of a cluster that is not up; fails if there is anything
#   cluster.sh flannel          give every node what flannel's daemon gives it: subnet.env, and routes to the other nodes
#   cluster.sh exec I CMD...    run CMD on node I
#   cluster.sh image F.tar...   import docker archives on every node (mkimage.py makes one from a folder)
#   cluster.sh stop|start WHAT  WHAT: etcd api controllers scheduler, or kubelet1 containerd2 proxy3 ...; stop WHAT -KILL
#   cluster.sh reboot I         node I loses what a machine loses: processes, namespaces, links, /run; /var/lib, /etc/cni, /opt/cni stay
#   cluster.sh env              shell code that sets KUBECONFIG and PATH
#
# $CLUSTER is the state directory (/var/tmp/plexus-cluster), $KUBE_BIN where build.sh puts the binaries. One cluster at a time.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
for part in common images control-plane node flannel; do
    # shellcheck source=/dev/null # checked as files of their own
    source "$HERE/lib/$part.sh"
done

up() {
    local i
    [[ $EUID == 0 ]] || die "needs root"
    [[ -x $KUBE_BIN/kube && -x $KUBE_BIN/containerd ]] || die "no Kubernetes in $KUBE_BIN: run $HERE/build.sh"
    alone
    mkdir "$CLUSTER" 2>/dev/null || die "a cluster is up, or what is left of one: $HERE/cluster.sh down (state directory: $CLUSTER)"
    trap 'failed $?' EXIT
    trap 'exit 130' INT TERM HUP
    mkdir -p "$PKI" "$LOG" "$PID"
    images
    certificates
    outside_up
    control_plane_up
    for i in $(seq "$NODES"); do
        node_up "$i"
    done
    wait_for 240 have_nodes
    kubectl get nodes -o wide
    trap - EXIT INT TERM HUP
}

have_nodes() {
    (($(kubectl get nodes --no-headers | wc -l) >= NODES)) && kubectl get serviceaccount default
}

# `up` did not get to its end: nothing half-made stays.
failed() {
    local log
    trap '' INT TERM HUP
    for log in "$LOG"/*.log; do
        [[ -s $log ]] && printf '%s\n' "--- $log" "$(tail -n 5 "$log")" >&2
    done
    say "not up; removing what there is of it"
    down || true
    exit "$1"
}

down() {
    local i
    alone
    # Nothing stops it: what is gone is no error, and every step is tried.
    set +e
    for i in $(nodes); do
        node_down "$i"
    done
    control_plane_down
    # What was started but not recorded: `up` was killed in between.
    processes | xargs -r kill -KILL
    outside_down
    mounts | xargs -r -n 1 umount -l
    # Processes that were just killed keep their cgroup for a moment.
    for _ in {1..50}; do
        for i in $(cgroups); do
            find "$i" -depth -type d -exec rmdir {} + 2>/dev/null
        done
        [[ -z $(cgroups) ]] && break
        sleep 0.1
    done
    [[ -z $(mounts) ]] && rm -rf --one-file-system "$CLUSTER"
    set -e
    leftovers
}

leftovers() {
    local name found=()
    for name in $(links); do found+=("link $name"); done
    for name in $(ip netns list | awk '$1 ~ /^node[0-9]+$/ { print $1 }'); do found+=("network namespace $name"); done
    for name in $(mounts); do found+=("mount $name"); done
    for name in $(cgroups); do found+=("cgroup $name"); done
    for name in $(processes); do found+=("process $name $(tr '\0' ' ' <"/proc/$name/cmdline" | cut -c -80)"); done
    if [[ -e $CLUSTER ]]; then found+=("directory $CLUSTER"); fi
    ((${#found[@]})) || return 0
    printf 'left: %s\n' "${found[@]}" >&2
    return 1
}

# Pids of processes that run a binary of $KUBE_BIN and belong to this state directory (their arguments name it or they are shims).
processes() {
    local exe pid
    for exe in /proc/[0-9]*/exe; do
        pid=${exe#/proc/}
        pid=${pid%/exe}
        case $(readlink "$exe" 2>/dev/null) in
        "$CLUSTER"/*) echo "$pid" ;;
        "$KUBE_BIN"/*) grep -qF "$CLUSTER" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid" ;;
        esac
    done
    return 0
}

reboot() {
    node_down "$1"
    node_up "$1"
    # Where a DaemonSet did it, the kubelet starts it again.
    if [[ -e $CLUSTER/flannel ]]; then flannel; fi
}

case "${1:-}" in
up) up ;;
down) down ;;
leftovers) leftovers ;;
flannel) flannel ;;
exec)
    shift
    on "$@"
    ;;
image)
    shift
    # A node does not know where we are.
    for archive in "$@"; do archives+=("$(realpath "$archive")"); done
    for node in $(nodes); do import "$node" "${archives[@]}"; done
    ;;
stop) stop "$2" "${3:--TERM}" ;;
start)
    running "$2" >/dev/null && die "$2 runs already"
    eval "spawn $2 $(cat "$PID/$2.cmd")"
    ;;
reboot) reboot "$2" ;;
env) printf 'export KUBECONFIG=%q PATH=%q:"%s"\n' "$CLUSTER/admin.conf" "$KUBE_BIN" "\$PATH" ;;
*)
    sed -n '2,/^[^#]/{s/^# \?//p}' "$0"
    exit 2
    ;;
esac
