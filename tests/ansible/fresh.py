"""Hosts without Kubernetes, for install_kubernetes=true: the machine's files under a layer that is thrown away, and sshd.

apt is the real one, with a signed repository of the test's own. What is in its packages is not: `kubeadm`, `kubectl` and `containerd` there write
down how they were called, and that is what is looked at. So this shows that the role prepares a host and calls kubeadm as it should, not that a
cluster comes of it.
"""

import gzip
import hashlib
import os
import pathlib
import subprocess
import time

import world

# Writes down its name and arguments; then what it does.
SCRIPT = '#!/bin/sh\necho "$(basename "$0") $*" >>/var/log/calls\n'
KUBEADM = """case $1 in
init) mkdir -p /etc/kubernetes && touch /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf ;;
join) mkdir -p /etc/kubernetes && touch /etc/kubernetes/kubelet.conf ;;
token) echo "kubeadm join 127.0.0.1:6443 --token abc" ;;
esac
"""
PACKAGES = {
    "kubernetes": {
        "kubeadm": ["1.37.1-1.1", "1.37.2-1.1"],
        "kubelet": ["1.37.1-1.1", "1.37.2-1.1"],
        "kubectl": ["1.37.1-1.1", "1.37.2-1.1"],
    },
    # Above any version that the machine may have.
    "distribution": {"containerd": ["99.0-1"]},
}
PROGRAMS = {"kubeadm": KUBEADM, "kubelet": "", "kubectl": "echo '{\"items\": []}'\n", "containerd": 'echo "SystemdCgroup = false"\n'}
SYSTEMCTL = SCRIPT + 'case $1 in show) printf "LoadState=loaded\\nActiveState=inactive\\nUnitFileState=disabled\\n" ;; esac\n'


class Hosts:
    """A master and a worker on the loopback of a network namespace."""

    names = ("first", "second")

    def __init__(self, folder):
        self.folder = folder / "fresh"
        self.processes = []

    def start(self):
        """Makes the repositories, then starts the hosts."""
        self.folder.mkdir()
        for name, packages in PACKAGES.items():
            _repository(self.folder, name, packages)
        (self.folder / "systemctl").write_text(SYSTEMCTL)
        (self.folder / "systemctl").chmod(0o755)
        world.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key")
        self._spawn("unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity")
        self.inside = ["nsenter", f"--net=/proc/{self.processes[0].pid}/ns/net", "--"]
        for port, name in enumerate(self.names, 2201):
            ssh = self.folder / name / "ssh"
            ssh.mkdir(parents=True)
            (self.folder / name / "layer").mkdir()
            world.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "host_key")
            (ssh / "authorized_keys").write_text((self.folder / "key.pub").read_text())
            (ssh / "config").write_text(world.sshd_config(f"127.0.0.1:{port}", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
            with (self.folder / "known_hosts").open("a") as known:
                known.write(f"[127.0.0.1]:{port} {(ssh / 'host_key.pub').read_text()}")
            world.wait(60, "the network namespace is there", lambda: _command(self.processes[0].pid).startswith(b"sleep"))
            isolated = ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private"]
            self._spawn(*self.inside, *isolated, pathlib.Path(__file__).with_name("fresh-init.sh"), name, self.folder / name)
        for name in self.names:
            world.wait(60, f"sshd of {name} listens", lambda n=name: self.on(n, "test", "-e", "/run/ssh/pid") is not None)

    def _spawn(self, *command):
        with (self.folder / "log").open("a") as log:
            self.processes.append(subprocess.Popen([str(c) for c in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True))

    def stop(self):
        """Ends them by their pids: with the first process of a host end all others of it, its mounts and files."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def on(self, name, *command, root="-r"):
        """What a command on a host prints; None if it fails."""
        parent = self.processes[1 + self.names.index(name)].pid
        first = world.run("pgrep", "-P", parent).split() if _command(parent).startswith(b"unshare") else []
        if not first:
            return None
        done = subprocess.run(["nsenter", "-t", first[0], "-m", "-u", "-p", *root.split(), "--", *command], text=True, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def state(self):
        """Files that were written since sshd runs: what is in the layer, which is mounted beside the host's root."""
        state = []
        for name in self.names:
            layer = self.folder / name / "layer"
            files = self.on(name, "find", layer / "upper", "-newer", layer / "root/run/ssh/pid", "-type", "f", root="")
            state += [f"{name} {path}" for path in files.splitlines()]
        return state

    def inventory(self):
        """For ansible-playbook inside the namespace."""
        lines = ["[master]", "first ansible_port=2201", "[nodes]", "second ansible_port=2202", "[all:vars]"]
        lines += [
            "ansible_host=127.0.0.1",
            "ansible_user=root",
            "ansible_become=false",
            "ansible_python_interpreter=/usr/bin/python3",
            f"ansible_ssh_private_key_file={self.folder}/key",
            f"ansible_ssh_common_args='-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes'",
        ]
        path = self.folder / "inventory.ini"
        path.write_text("\n".join(lines) + "\n")
        return path


def _command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _repository(folder, name, packages):
    """A flat Debian repository with an index that is signed."""
    top = folder / "packages" / name
    top.mkdir(parents=True)
    index = ""
    for package, versions in packages.items():
        for version in versions:
            root = folder / "build" / f"{package}-{version}"
            program = root / "usr/bin" / package
            program.parent.mkdir(parents=True)
            program.write_text(SCRIPT + PROGRAMS[package])
            program.chmod(0o755)
            control = f"Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: test <test@plexus.local>\nDescription: of a test\n"
            (root / "DEBIAN").mkdir()
            (root / "DEBIAN/control").write_text(control)
            file = top / f"{package}_{version}_all.deb"
            world.run("dpkg-deb", "--build", "--root-owner-group", root, file)
            content = file.read_bytes()
            index += f"{control}Filename: ./{file.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"
    (top / "Packages").write_text(index)
    (top / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    release = f"Origin: test\nSuite: {name}\nDate: {time.strftime('%a, %d %b %Y %H:%M:%S +0000', time.gmtime())}\nSHA256:\n"
    for file in ("Packages", "Packages.gz"):
        content = (top / file).read_bytes()
        release += f" {hashlib.sha256(content).hexdigest()} {len(content)} {file}\n"
    (top / "Release").write_text(release)
    home = folder / "gnupg"
    if not home.exists():
        home.mkdir(mode=0o700)
        gpg(home, "--quick-generate-key", "test <test@plexus.local>", "ed25519", "sign", "1d")
        (folder / "packages/key.asc").write_text(gpg(home, "--armor", "--export"))
    gpg(home, "--clearsign", "--output", top / "InRelease", top / "Release")


def gpg(home, *arguments):
    """gpg without an agent that stays."""
    environment = {**os.environ, "GNUPGHOME": str(home)}
    try:
        return world.run("gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", *arguments, env=environment)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)
