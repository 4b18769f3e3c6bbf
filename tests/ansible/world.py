"""Nodes of tests/cluster that can be reached by SSH, and what is on them. Nothing here uses Ansible."""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = TOP / "tests/cluster/cluster.sh"
CLUSTER = pathlib.Path(os.environ.setdefault("CLUSTER", "/var/tmp/plexus-cluster"))
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "plexus"
KUBE_BIN = pathlib.Path(os.environ.get("KUBE_BIN") or CACHE / "kube")
PATH = f"{KUBE_BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


RUNNING = set()


def end_running():
    """Tells what runs to end, in whatever thread; `call` gives it the time to end what it began."""
    for process in list(RUNNING):
        process.terminate()


def call(*command, **options):
    """Exit status, output and errors of a command."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    given = options.pop("input", None)
    if given is not None:
        options["stdin"] = subprocess.PIPE
    # A session of its own: Ctrl-C is for us, who tell it.
    with subprocess.Popen([str(c) for c in command], text=True, start_new_session=True, **options) as process:
        RUNNING.add(process)
        try:
            said, wrong = process.communicate(given)
        except BaseException:
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
        finally:
            RUNNING.discard(process)
    return process.returncode, said, wrong


def run(*command, **options):
    """What a command prints. An error has what it said."""
    status, said, wrong = call(*command, **options)
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit status {status}\n{said}{wrong or ''}")
    return said


def kubectl(*arguments, **options):
    """kubectl as the cluster's administrator, from outside the nodes."""
    return run(KUBE_BIN / "kubectl", f"--kubeconfig={CLUSTER}/admin.conf", *arguments, **options)


def kube(*arguments):
    """The same, what it says as JSON."""
    return json.loads(kubectl(*arguments, "--output=json"))


def on(node, *command):
    """A command on node number `node`, not by SSH."""
    return run(SCRIPT, "exec", node, *command)


def sshd_config(address, path):
    """An sshd for Ansible, with its files in /run/ssh."""
    return (
        f"ListenAddress {address}\nHostKey /run/ssh/host_key\nPidFile /run/ssh/pid\nAuthorizedKeysFile /run/ssh/authorized_keys\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\n"
        # A test node's /run is for everybody.
        "StrictModes no\n"
        # Not the machine's home: what a shell runs there is not the test's, and kubectl would keep files in it.
        f"SetEnv PATH={path} HOME=/run/ssh\n"
    )


class Nodes:
    """sshd on each node, with keys that are made for this run alone and are gone with the node's /run."""

    def __init__(self, count, folder):
        self.numbers = range(1, count + 1)
        self.folder = folder
        self.key = folder / "key"
        self.known_hosts = folder / "known_hosts"

    def address(self, number):
        """Where a node is."""
        return f"10.99.0.{10 + number}"

    def start(self):
        """Starts them; each ends with its node."""
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        lines = []
        for number in self.numbers:
            files = CLUSTER / f"n{number}/run/ssh"
            files.mkdir(mode=0o700)
            # Where Debian's sshd gives up its rights.
            (files.parent / "sshd").mkdir(mode=0o755)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", files / "host_key")
            shutil.copy(f"{self.key}.pub", files / "authorized_keys")
            (files / "config").write_text(sshd_config(self.address(number), PATH))
            on(number, "/usr/sbin/sshd", "-f", "/run/ssh/config", "-E", "/run/ssh/log")
            lines.append(f"{self.address(number)} {(files / 'host_key.pub').read_text()}")
        self.known_hosts.write_text("".join(lines))

    def inventory(self, more=""):
        """An inventory with a master and workers, each with a part of the addresses of the nodes' network."""
        lines = [f"[master]\n{self.host(1)}", "[nodes]", *(self.host(n) for n in self.numbers[1:]), more, "[all:vars]"]
        lines += [
            "ansible_user=root",
            "ansible_become=false",
            "ansible_python_interpreter=/usr/bin/python3",
            # Nothing of the machine that the nodes share is written to.
            "ansible_remote_tmp=/run/ansible",
            f"ansible_ssh_private_key_file={self.key}",
            f"ansible_ssh_common_args='-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes'",
            f"kubeconfig={CLUSTER}/admin.conf",
            "multus_master=eth0",
            "multus_subnet=10.99.0.0/24",
            "multus_gateway=10.99.0.1",
        ]
        path = self.folder / f"inventory{'-more' if more else ''}.ini"
        path.write_text("\n".join(lines) + "\n")
        return path

    def host(self, number, name=None):
        """A line of the inventory."""
        start, end = self.addresses(number)
        return f"{name or f'node{number}'} ansible_host={self.address(number)} multus_range_start={start} multus_range_end={end}"

    def addresses(self, number):
        """The first and last address that a node gives out."""
        return f"10.99.0.{100 + 10 * number}", f"10.99.0.{109 + 10 * number}"

    def state(self):
        """All that the playbooks could change: to be the same before and after what changes nothing."""
        state = {}
        for number in self.numbers:
            node = f"node{number}"
            for folder in ("opt-cni", "etc-cni", "var-lib-cni", "run/flannel"):
                for path in sorted((CLUSTER / f"n{number}" / folder).rglob("*")):
                    # The runtime's own records of pods.
                    if path.is_relative_to(CLUSTER / f"n{number}/var-lib-cni/results"):
                        continue
                    state[f"{node} {folder}/{path.relative_to(CLUSTER / f'n{number}' / folder)}"] = _describe(path)
            for link in json.loads(run("ip", "-n", node, "-j", "link")):
                state[f"{node} link {link['ifname']}"] = ""
            for route in json.loads(run("ip", "-n", node, "-j", "route")):
                state[f"{node} route {route['dst']}"] = f"{route.get('gateway')} {route.get('dev')}"
            for table in json.loads(on(number, "nft", "-j", "list", "tables"))["nftables"]:
                # kube-proxy makes its own when it gets to it.
                if "table" in table and table["table"]["name"] != "kube-proxy":
                    state[f"{node} table {table['table']['name']}"] = ""
            for image in on(number, "ctr", "-n", "k8s.io", "images", "list").splitlines()[1:]:
                name, _, digest = image.split()[:3]
                state[f"{node} image {name}"] = digest
        for kind in ("daemonset", "configmap", "serviceaccount", "clusterrole", "clusterrolebinding"):
            for found in kube("get", kind, "--all-namespaces")["items"]:
                state[f"{kind} {found['metadata']['name']}"] = found["metadata"].get("resourceVersion") if kind == "configmap" else ""
        return state

    def interfaces(self, pod):
        """The pod's interfaces as `ip -j` sees them from its node: name to list of addresses. Waits until the pod is ready."""
        kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=90s")
        found = kube("get", "pod", pod)
        number = int(found["spec"]["nodeName"].removeprefix("node"))
        return interfaces(found, lambda *command: on(number, *command))


def interfaces(pod, on_node):
    """The same of a pod as the API server has it; `on_node` runs a command on its node."""
    for namespace in on_node("ip", "netns", "list").split("\n"):
        if not namespace.startswith("cni-"):
            continue
        links = json.loads(on_node("ip", "-n", namespace.split()[0], "-j", "address"))
        own = {link["ifname"]: [a["local"] for a in link["addr_info"] if a["family"] == "inet"] for link in links}
        if pod["status"]["podIP"] in own.get("eth0", []):
            return own
    raise RuntimeError(f"no network namespace of {pod['spec']['nodeName']} has an eth0 with {pod['status']['podIP']}, the address of {pod['metadata']['name']}")


def _describe(path):
    if path.is_symlink():
        return f"-> {os.readlink(path)}"
    if path.is_dir():
        return "folder"
    # host-local's own business.
    if path.name in (".plexus-index", "last_reserved_ip.0", "lock"):
        return "file"
    return f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def differences(before, after):
    """What is in one of two states only, or differs."""
    lines = [f"- {key} {before[key]}" for key in before if before[key] != after.get(key)]
    lines += [f"+ {key} {after[key]}" for key in after if after[key] != before.get(key)]
    return sorted(lines, key=lambda line: line[2:])


def pods(image, replicas, annotations=None, name="web"):
    """A ReplicationController as the article has it."""
    labels = {"app": name}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ReplicationController",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": labels,
                "template": {
                    "metadata": {"labels": labels, "annotations": annotations or {}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "topologySpreadConstraints": [
                            {
                                "maxSkew": 1,
                                "topologyKey": "kubernetes.io/hostname",
                                "whenUnsatisfiable": "DoNotSchedule",
                                "labelSelector": {"matchLabels": labels},
                            }
                        ],
                        "containers": [{"name": "web", "image": image, "imagePullPolicy": "IfNotPresent"}],
                    },
                },
            },
        }
    )


def wait(seconds, what, condition):
    """Until `condition()` says so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} seconds in vain until {what}")
        time.sleep(0.5)
