#!/bin/sh
# The first process of a host without Kubernetes, in its new namespaces: fresh-init.sh NAME FOLDER. The machine's files under a layer that is
# thrown away, own /run, no sources of packages but the test's, sshd.
set -eu
name=$1 folder=$2

hostname "$name"
mount -t tmpfs fresh "$folder/layer"
mkdir "$folder/layer/upper" "$folder/layer/work" "$folder/layer/root"
root=$folder/layer/root
mount -t overlay fresh -o "lowerdir=/,upperdir=$folder/layer/upper,workdir=$folder/layer/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mkdir -p "$root/run/sshd" "$root/run/ssh" "$root/srv/packages"
mount --bind "$folder/../packages" "$root/srv/packages"
cp "$folder"/ssh/* "$root/run/ssh/"
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d "$root"/var/lib/apt/lists/* "$root"/etc/kubernetes "$root"/opt/cni "$root"/etc/cni
mkdir "$root/etc/apt/sources.list.d"
echo 'deb [trusted=yes] file:/srv/packages/distribution /' >"$root/etc/apt/sources.list.d/distribution.list"
# The machine may have some of them.
for package in kubeadm kubelet kubectl containerd; do
    chroot "$root" dpkg --purge --force-all "$package" >/dev/null 2>&1 || true
done
# There is no systemd here.
cp "$folder/../systemctl" "$root/usr/local/bin/systemctl"
exec chroot "$root" /usr/sbin/sshd -D -f /run/ssh/config -E /run/ssh/log
