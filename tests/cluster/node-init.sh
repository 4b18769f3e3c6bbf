#!/bin/sh
# The first process of a node, in its new namespaces: node-init.sh NAME DIR REAPER. Makes the node's file system and becomes REAPER.
set -eu
name=$1 dir=$2 reaper=$3

hostname "$name"
mount -t proc proc /proc
# Pods with Bidirectional and HostToContainer mounts need it.
mount --make-rshared /

# What a node has for itself; everything else is the machine's.
bind() {
    mkdir -p "$2"
    mount --bind "$dir/$1" "$2"
}
bind opt-cni /opt/cni
bind etc-cni /etc/cni
bind var-lib-cni /var/lib/cni
bind var-lib-containerd /var/lib/containerd
bind manifests /etc/kubernetes/manifests
bind pod-logs /var/log/pods
bind kubelet /var/lib/kubelet
mount --make-rshared /var/lib/kubelet
bind run /run
mount --make-rshared /run

mkdir -p /run/netns /run/lock
: >/run/ready
exec "$reaper"
