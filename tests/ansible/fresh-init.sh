#!/bin/sh
# The first process of a host without Kubernetes, in its new namespaces: fresh-init.sh NAME FOLDER ADDRESS OUTSIDE. The machine's files under a layer
# that is thrown away, an eth0 on the bridge of the network namespace OUTSIDE, own /run, no sources of packages but the test's, sshd.
set -eu
name=$1 folder=$2 address=$3 outside=$4

hostname "$name"
ip link add eth0 type veth peer name "v-$name" netns "$outside"
nsenter --net="$outside" -- ip link set "v-$name" master lan0 up
ip link set lo up
ip link set eth0 up
ip address add "$address/24" dev eth0
ip route add default via "${address%.*}.1"

mount -t tmpfs fresh "$folder/layer"
layer=$folder/layer root=$folder/layer/root
mkdir "$layer/upper" "$layer/work" "$root"
mount -t overlay fresh -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
# No overlay can be on an overlay, as containerd's would be; and nothing of the machine's own is to be seen.
for path in containerd kubelet etcd cni; do
    mkdir "$layer/$path"
    mkdir -p "$root/var/lib/$path"
    mount --bind "$layer/$path" "$root/var/lib/$path"
done
mkdir -p "$root/run/sshd" "$root/run/ssh" "$root/run/lock" "$root/run/layer" "$root/run/machine" "$root/srv/packages"
mount --bind "$layer/upper" "$root/run/layer"
mount --bind "$folder/../packages" "$root/srv/packages"
cp "$folder"/ssh/* "$root/run/ssh/"
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d "$root"/var/lib/apt/lists/* "$root"/etc/kubernetes "$root"/opt/cni "$root"/etc/cni \
    "$root"/etc/containerd "$root"/var/log/pods "$root"/var/log/containers
mkdir "$root/etc/apt/sources.list.d"
echo 'deb [trusted=yes] file:/srv/packages/distribution /' >"$root/etc/apt/sources.list.d/distribution.list"
# The machine may have some of them.
for package in kubeadm kubelet kubectl containerd; do
    chroot "$root" dpkg --purge --force-all "$package" >/dev/null 2>&1 || true
done
# Nobody answers there, which is known at once.
rm -f "$root/etc/resolv.conf"
echo "nameserver ${address%.*}.1" >"$root/etc/resolv.conf"
# There is no systemd here.
cp "$folder/../systemctl" "$root/usr/local/bin/systemctl"
cp -r "$folder"/files/. "$root/"
cd "$root"
pivot_root . run/machine
umount -l /run/machine
# As systemd has it: pods' mounts need it.
mount --make-rshared /
exec /usr/sbin/sshd -D -f /run/ssh/config -E /run/ssh/log
