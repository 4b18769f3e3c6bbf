#!/usr/bin/env bash
# Tests of the cluster scripts: a whole life, a second `up`, an interrupted `up`, `down` of half a cluster. Two minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cluster=$here/cluster.sh
export NODES=1 CLUSTER=${CLUSTER:-/var/tmp/plexus-cluster}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
    echo "FAILED: $*" >&2
    cat "$log" >&2
    "$cluster" down || true
    exit 1
}
# it WHAT COMMAND...
it() {
    local what=$1
    shift
    "$@" >"$log" 2>&1 || fail "$what"
    echo "ok: $what"
}
# refuses WHAT TEXT COMMAND...: it fails, and says so.
refuses() {
    local what=$1 text=$2
    shift 2
    ! "$@" >"$log" 2>&1 || fail "$what: it succeeded"
    grep -q "$text" "$log" || fail "$what: does not say '$text'"
    echo "ok: $what"
}
world() { ip -o link show | grep -vE 'veth' | cut -d: -f2; findmnt -rno TARGET | grep -F "$CLUSTER" || true; cat /proc/sys/net/ipv4/ip_forward; }

[[ ! -e $CLUSTER ]] || { echo "$CLUSTER exists: a cluster is up" >&2; exit 1; }
before=$(world)

refuses "without Kubernetes it says what to run" build.sh env KUBE_BIN=/nonexistent "$cluster" up
it "down of nothing is no error" "$cluster" down

it "up" "$cluster" up
refuses "a second up is refused" "a cluster is up" "$cluster" up
refuses "another state directory is refused" "another one" env CLUSTER="$CLUSTER-other" "$cluster" up
[[ ! -e $CLUSTER-other ]] || fail "it left a directory"
refuses "leftovers while it is up" "left: link lan0" "$cluster" leftovers
eval "$("$cluster" env)"
it "the node is there" kubectl get node node1
it "exec is on the node" test "$("$cluster" exec 1 hostname)" = node1
it "the node has processes of its own" test "$("$cluster" exec 1 sh -c 'ls -d /proc/[0-9]* | wc -l')" -lt 30
it "flannel" "$cluster" flannel
it "the node knows its subnet" grep -q FLANNEL_SUBNET=10.244 "$CLUSTER/n1/run/flannel/subnet.env"
it "an image by a relative path" sh -c "cd '$CLUSTER/img' && '$cluster' image busybox.tar"
it "stop" "$cluster" stop kubelet1
it "the kubelet is gone" test -z "$("$cluster" exec 1 pgrep -x kubelet || true)"
it "start" "$cluster" start kubelet1
refuses "a second start is refused" "runs already" "$cluster" start kubelet1
touch "$CLUSTER/n1/run/lost"
it "reboot" "$cluster" reboot 1
[[ ! -e $CLUSTER/n1/run/lost ]] || fail "/run was kept"
it "the kubelet runs again" "$cluster" exec 1 pgrep -x kubelet
it "down" "$cluster" down
[[ $(world) == "$before" ]] || fail "something is left: $(diff <(echo "$before") <(world))"

# Interrupted in the middle, as by Ctrl-C.
"$cluster" up >"$log" 2>&1 &
pid=$!
for _ in {1..200}; do
    [[ -s $CLUSTER/pid/api ]] && break
    sleep 0.1
done
kill -TERM "$pid"
! wait "$pid" || fail "an interrupted up succeeded"
it "an interrupted up leaves nothing" "$cluster" leftovers
[[ $(world) == "$before" ]] || fail "something is left: $(diff <(echo "$before") <(world))"

# Killed: nobody cleans up until `down`.
"$cluster" up >"$log" 2>&1 &
pid=$!
for _ in {1..400}; do
    [[ -s $CLUSTER/pid/node1 ]] && break
    sleep 0.1
done
kill -KILL "$pid"
wait "$pid" || true
it "down after a killed up" "$cluster" down
[[ $(world) == "$before" ]] || fail "something is left: $(diff <(echo "$before") <(world))"
echo "the cluster scripts work"
