# shellcheck shell=bash disable=SC2034 # the other parts use the variables
# Paths, waiting, and processes that are known by pid and start time.

KUBE_BIN=${KUBE_BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/plexus/kube}
CLUSTER=${CLUSTER:-/var/tmp/plexus-cluster}
NODES=${NODES:-1}
PKI=$CLUSTER/pki
LOG=$CLUSTER/log
PID=$CLUSTER/pid
# What says that a link of the machine is ours.
ALIAS="plexus test cluster $CLUSTER"
export PATH="$KUBE_BIN:$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { echo "cluster: $*" >&2; }
die() {
    say "$*"
    exit 1
}
kubectl() { "$KUBE_BIN/kubectl" --kubeconfig="$CLUSTER/admin.conf" "$@"; }

# The numbers of the nodes that have files.
nodes() {
    local dir
    for dir in "$CLUSTER"/n[0-9]*; do
        [[ -d $dir ]] && echo "${dir##*/n}"
    done | sort -n
}

# wait_for TRIES COMMAND...: half a second between tries.
wait_for() {
    local tries=$1
    shift
    for ((; tries > 0; tries--)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.5
    done
    say "gave up waiting for: $*"
    return 1
}

# Pid and start time (field 22; the second field may hold blanks): a pid alone could be another process's by now. A zombie has ended, however long
# the machine's first process takes to collect it.
identity() {
    local stat
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    # shellcheck disable=SC2086 # the fields are words
    set -- "$1" ${stat##*) }
    [[ $2 != Z ]] || return 1
    echo "$1 ${21}"
}

# The pid of the process recorded as NAME, if it still runs.
running() {
    local recorded
    recorded=$(cat "$PID/$1" 2>/dev/null) || return 1
    [[ $(identity "${recorded%% *}") == "$recorded" ]] || return 1
    echo "${recorded%% *}"
}

# The process's children, if it is nsenter or unshare, which wait for them; then itself. One a line.
family() {
    case $(cat "/proc/$1/comm" 2>/dev/null) in
    nsenter | unshare) pgrep -P "$1" || true ;;
    esac
    echo "$1"
}

# spawn NAME COMMAND...: in the background, in a session of its own, output in $LOG/NAME.log.
spawn() {
    local name=$1
    shift
    printf '%q ' "$@" >"$PID/$name.cmd"
    setsid "$@" >>"$LOG/$name.log" 2>&1 </dev/null &
    identity $! >"$PID/$name" || die "$name ended at once; see $LOG/$name.log"
}

# stop NAME [SIGNAL]: waits until it is gone, for five seconds, then kills it.
stop() {
    local pid pids
    if pid=$(running "$1"); then
        mapfile -t pids < <(family "$pid")
        kill "${2:--TERM}" "${pids[0]}" 2>/dev/null || true
        for _ in {1..50}; do
            running "$1" >/dev/null || break
            sleep 0.1
        done
        if running "$1" >/dev/null; then kill -KILL "${pids[@]}" 2>/dev/null || true; fi
    fi
    rm -f "$PID/$1"
}

# The cgroup directories of the kubelets, one in each cgroup v1 hierarchy.
cgroups() {
    local dir
    for dir in /sys/fs/cgroup/*/plexus-node[0-9]*; do
        [[ -d $dir ]] && echo "$dir"
    done
    return 0
}

# Mount points below the state directory, deepest first.
mounts() { awk -v below="$CLUSTER/" 'index($2, below) == 1 { print $2 }' /proc/self/mounts | sort -r; }

# Names of links, cgroups and namespaces are the same for every cluster: there is one at a time.
alone() {
    local owner
    owner=$(cat /sys/class/net/lan0/ifalias 2>/dev/null) || return 0
    [[ $owner == "$ALIAS" ]] || die "this machine's link lan0 is not of this cluster (${owner:-no alias}): is another one up?"
}

# Links of the machine that are ours.
links() { ip -j link show | python3 -c "import json,sys; [print(l['ifname']) for l in json.load(sys.stdin) if l.get('ifalias') == '$ALIAS']"; }
