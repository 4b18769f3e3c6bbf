"""Hosts without Kubernetes, for install_kubernetes=true: the machine's files under a layer that is thrown away, a network of their own, and sshd.

apt, kubeadm, kubelet, containerd and the images are real: from repositories (packages.py) and a registry (registry.py) of the test's own, since hosts
have no other network. systemd is not there; `systemctl` here stands in for it.
"""

import json
import os
import pathlib
import shutil
import subprocess

import packages
import registry
import world

NETWORK = "10.98.0"
REGISTRY = f"{NETWORK}.1:5000"
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# What kubeadm cannot know of a host that has a cgroup of a machine of cgroup v1, and not the right to lower a process's oom_score_adj
# (tests/cluster/README.md).
PATCH = "failCgroupV1: false\nfailSwapOn: false\ncgroupRoot: /{cgroup}\noomScoreAdj: 0\nimageGCHighThresholdPercent: 100\n"
PATCH += 'evictionHard: {{memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}}\n'
CONTAINERD = f"""version = 3
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '/etc/containerd/certs.d'
"""
FILES = {
    "etc/containerd/conf.d/test.toml": CONTAINERD,
    f"etc/containerd/certs.d/{REGISTRY}/hosts.toml": f'server = "http://{REGISTRY}"\n',
}


class Hosts:
    """A master and a worker on a bridge in a network namespace, which is the outside."""

    names = ("first", "second")

    def __init__(self, folder):
        self.folder = folder / "fresh"
        self.processes = {}

    def start(self):
        """Makes packages and images, then starts the hosts."""
        self.folder.mkdir()
        packages.offer(self.folder)
        registry.make(world, self.folder / "images")
        shutil.copy(pathlib.Path(__file__).with_name("systemctl"), self.folder / "systemctl")
        world.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key")
        made = f"ip link set lo up && ip link add lan0 type bridge && ip address add {NETWORK}.1/24 dev lan0 && ip link set lan0 up"
        self._spawn("outside", "unshare", "--net", "sh", "-c", f"{made} && exec sleep infinity")
        outside = self.processes["outside"].pid
        self.inside = ["nsenter", f"--net=/proc/{outside}/ns/net", "--"]
        world.wait(60, "the network is there", lambda: _command(outside).startswith(b"sleep"))
        self._spawn("registry", *self.inside, "/usr/bin/python3", registry.__file__, *REGISTRY.split(":"), self.folder / "images")
        for name in self.names:
            self._start(name, f"/proc/{outside}/ns/net")
        for name in self.names:
            world.wait(60, f"sshd of {name} listens", lambda n=name: self.call(n, "test", "-e", "/run/ssh/pid").returncode == 0)

    def _start(self, name, outside):
        top = self.folder / name
        ssh = top / "ssh"
        ssh.mkdir(parents=True)
        (top / "layer").mkdir()
        cgroup = f"plexus-fresh-{name}"
        hosts = "127.0.0.1 localhost\n" + "".join(f"{self.address(n)} {n}\n" for n in self.names)
        for path, text in {**FILES, "etc/hosts": hosts, "srv/patches/kubeletconfiguration+merge.yaml": PATCH.format(cgroup=cgroup)}.items():
            file = top / "files" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        for hierarchy in _hierarchies():
            (hierarchy / cgroup).mkdir(exist_ok=True)
            for key in ("cpuset.cpus", "cpuset.mems"):
                if (hierarchy / key).exists():
                    (hierarchy / cgroup / key).write_text((hierarchy / key).read_text())
        world.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ssh / "host_key")
        (ssh / "authorized_keys").write_text((self.folder / "key.pub").read_text())
        (ssh / "config").write_text(world.sshd_config(self.address(name), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
        with (self.folder / "known_hosts").open("a") as known:
            known.write(f"{self.address(name)} {(ssh / 'host_key.pub').read_text()}")
        isolated = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--propagation", "private"]
        self._spawn(name, *isolated, pathlib.Path(__file__).with_name("fresh-init.sh"), name, top, self.address(name), outside)

    def address(self, name):
        """Where a host is."""
        return f"{NETWORK}.{11 + self.names.index(name)}"

    def _spawn(self, name, *command):
        with (self.folder / "log").open("a") as log:
            command = [str(c) for c in command]
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self):
        """Ends them by their pids: with the first process of a host end all others of it, its mounts and files."""
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()
        world.wait(60, "their cgroups are gone", lambda: not any(_remove(path) for path in CGROUPS.glob("*/plexus-fresh-*")))

    def call(self, name, *command, **options):
        """A command on a host, as subprocess has it."""
        # Not `pgrep -P`: the parent is unshare only when it is that, and the child is there a moment later.
        parent = self.processes[name].pid
        first = world.call("pgrep", "-P", parent)[1].split() if _command(parent).startswith(b"unshare") else ["0"]
        enter = ["nsenter", "-t", (first or ["0"])[0], "-n", "-m", "-u", "-i", "-p", "-r", "--"]
        return subprocess.run([*enter, *(str(c) for c in command)], text=True, capture_output=True, check=False, **options)

    def on(self, name, *command, **options):
        """What a command on a host prints."""
        done = self.call(name, *command, **options)
        if done.returncode:
            raise RuntimeError(f"{name}: {' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def kubectl(self, *arguments, **options):
        """kubectl as kubeadm's administrator."""
        return self.on("first", "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments, **options)

    def kube(self, *arguments):
        """The same, what it says as JSON."""
        return json.loads(self.kubectl(*arguments, "--output=json"))

    def state(self):
        """Files that were written since sshd runs: what is in the layer."""
        return [f"{name} {path}" for name in self.names for path in self.on(name, "find", "/run/layer", "-newer", "/run/ssh/pid", "-type", "f").splitlines()]

    def inventory(self):
        """For ansible-playbook inside the namespace."""
        lines = ["[master]", self._line("first"), "[nodes]", self._line("second"), "[all:vars]"]
        lines += [
            "ansible_user=root",
            "ansible_become=false",
            "ansible_python_interpreter=/usr/bin/python3",
            f"ansible_ssh_private_key_file={self.folder}/key",
            f"ansible_ssh_common_args='-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes'",
            "multus_master=eth0",
            f"multus_subnet={NETWORK}.0/24",
            f"multus_gateway={NETWORK}.1",
        ]
        path = self.folder / "inventory.ini"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _line(self, name):
        part = 100 + 10 * self.names.index(name)
        return f"{name} ansible_host={self.address(name)} multus_range_start={NETWORK}.{part} multus_range_end={NETWORK}.{part + 9}"


def _hierarchies():
    """Of cgroup v1."""
    return [tasks.parent for tasks in CGROUPS.glob("*/tasks")]


def _remove(cgroup):
    """Whether a cgroup is still there after an attempt to remove it with all below."""
    for path, _, _ in os.walk(cgroup, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass
    return cgroup.exists()


def _command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
