"""The cases, in the order of a cluster's life. Each leaves the cluster as the next one expects it."""

import concurrent.futures
import json
import os
import re
import subprocess

import fresh
import packages
import world
from world import kube, kubectl

FOLDER = world.TOP / "deploy/ansible"
PLAYBOOKS = ("kube-install.yml", "multus-cni.yml", "multus-remove.yml")
MULTUS = "pod_network_type=multus"


class Playbooks:
    """ansible-playbook, with this run's files."""

    def __init__(self, venv, folder):
        self.venv, self.folder = venv, folder
        self.image = None
        self.environment = {
            **os.environ,
            "PATH": f"{venv}/bin:{os.environ['PATH']}",
            "ANSIBLE_HOME": str(folder / "ansible"),
            # Where `run` ends the connections that Ansible keeps.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
            "ANSIBLE_NOCOLOR": "1",
            # A machine that compiles beside this may need more than Ansible's ten seconds until sshd has a word to say.
            "ANSIBLE_TIMEOUT": "60",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def build(self, image):
        """Takes what the playbooks install from the folder that `image()` names."""
        self.image = image()

    def call(self, *command, inside=()):
        """A program of the venv, perhaps inside of a namespace: exit status and what it said."""
        status, said, _ = world.call(*inside, *command, cwd=FOLDER, env=self.environment, stderr=subprocess.STDOUT)
        return status, said

    def play(self, inventory, playbook, *options, inside=()):
        """Exit status, what it said, and how much changed on all hosts."""
        files = f"plexus_program={self.image}/plexus-node plexus_image_archive={self.image}/plexus-node.tar"
        status, said = self.call("ansible-playbook", "-i", inventory, playbook, "-e", files, *options, inside=inside)
        return status, said, sum(int(n) for n in re.findall(r" changed=(\d+)", said))

    def changes(self, inventory, playbook, *options, inside=()):
        """A run that must succeed, and change something."""
        status, said, changed = self.play(inventory, playbook, *options, inside=inside)
        assert status == 0 and changed, f"{playbook} {' '.join(options)}: exit status {status}, changed={changed}\n{said}"

    def changes_nothing(self, inventory, playbook, *options, inside=()):
        """A run that must succeed and have nothing to do."""
        status, said, changed = self.play(inventory, playbook, *options, inside=inside)
        assert status == 0 and changed == 0, f"{playbook} {' '.join(options)}: exit status {status}, changed={changed}\n{said}"

    def fails(self, inventory, playbook, *options, says, inside=()):
        """A run that must fail with this sentence, wherever its lines are broken."""
        status, said, _ = self.play(inventory, playbook, *options, inside=inside)
        assert status and says in " ".join(said.split()), f"{playbook} {' '.join(options)}: exit status {status}, without: {says}\n{said}"


def variables(*assignments):
    """Arguments that set variables."""
    return [word for assignment in assignments for word in ("-e", assignment)]


def unchanged(nodes, before, what):
    """The cluster is as it was."""
    found = world.differences(before, nodes.state())
    assert not found, f"changed by {what}:\n" + "\n".join(found)


def syntax_and_lint(playbooks):
    """Playbooks are what Ansible and its linter (profile production) want."""
    status, said = playbooks.call("ansible-playbook", "-i", "inventory/example.ini", "--syntax-check", *PLAYBOOKS)
    assert status == 0, said
    status, said = playbooks.call("ansible-lint", "--offline", "--nocolor")
    assert status == 0, said


def wrong_variables(playbooks, nodes):
    """A wrong variable is named, with what is wrong about it, and no node is touched."""
    before, inventory = nodes.state(), nodes.inventory()
    install = [
        (["pod_network_type=weave"], "pod_network_type=weave is none of: none, flannel, multus"),
        (["pod_network_cidr=10.244.0.0/33"], "pod_network_cidr=10.244.0.0/33 of all hosts cannot be used"),
        (["plexus_program=/nowhere"], "plexus_program=/nowhere or plexus_image_archive="),
        ([MULTUS, "multus_master="], "multus_master, the parent interface of the second network, is not set for node1"),
        ([MULTUS, "multus_subnet=10.98.0.0/24"], "multus_range_start=10.99.0.110 of node1 is not in multus_subnet=10.98.0.0/24"),
        ([MULTUS, "multus_gateway=10.99.0.115"], "multus_gateway=10.99.0.115 of node1 is one of the addresses for pods (10.99.0.110 to 10.99.0.119)"),
        ([MULTUS, "multus_range_end=10.99.0.105"], "multus_range_start=10.99.0.110 of node1 comes after multus_range_end=10.99.0.105"),
        (
            [MULTUS, "multus_range_start=10.99.0.100"],
            "multus_range_start and multus_range_end of node1 (10.99.0.100 to 10.99.0.119) and of node2 (10.99.0.100 to 10.99.0.129) overlap",
        ),
        ([MULTUS, "multus_master=eth9"], "multus_master=eth9: node1 has no such interface; it has eth0, lo"),
        (["kubeconfig=/nowhere"], "node1 is not a node of the cluster that kubectl --kubeconfig=/nowhere on node1 sees"),
        (["plexus_image=other.local/image:1"], "not plexus_image=other.local/image:1"),
    ]
    # Beside each other, since none gets as far as changing something.
    pool = concurrent.futures.ThreadPoolExecutor(4)
    try:
        runs = [pool.submit(playbooks.fails, inventory, "kube-install.yml", *variables(*assignments), says=says) for assignments, says in install]
        for run in runs:
            run.result()
    finally:
        pool.shutdown(cancel_futures=True)
    playbooks.fails(inventory, "multus-cni.yml", says="node1 has no network in /etc/cni/net.d that a second one could be added to")
    unchanged(nodes, before, "playbooks that failed")


def no_network(playbooks, nodes):
    """pod_network_type=none changes nothing on a cluster that is there."""
    before = nodes.state()
    playbooks.changes_nothing(nodes.inventory(), "kube-install.yml", *variables("pod_network_type=none"))
    unchanged(nodes, before, "pod_network_type=none")


def check_mode(playbooks, nodes):
    """--check on nodes without a network tells of changes and makes none."""
    before = nodes.state()
    for kind in ("flannel", "multus"):
        playbooks.changes(nodes.inventory(), "kube-install.yml", "--check", *variables(f"pod_network_type={kind}"))
    unchanged(nodes, before, "--check")


def multus(playbooks, nodes):
    """The article's command: three pods of kube-multus-ds, nodes ready, and pods with lo, eth0 and net0."""
    nodes.before_multus = nodes.state()
    playbooks.changes(nodes.inventory(), "kube-install.yml", *variables(MULTUS))
    ready = kubectl("get", "pods", "--namespace=kube-system", "--selector=app=multus", "--no-headers").splitlines()
    assert len(ready) == 3 and all(re.search(r" 2/2 +Running ", line) for line in ready), ready
    statuses = [c["status"] for n in kube("get", "nodes")["items"] for c in n["status"]["conditions"] if c["type"] == "Ready"]
    assert statuses == ["True"] * 3, statuses
    names = set(world.on(1, "find", "/opt/cni/bin", "-lname", "plexus-node").split())
    listed = re.search(r"programs_names: \[(.*)\]", (FOLDER / "roles/programs/vars/main.yml").read_text()).group(1)
    linked = {f"/opt/cni/bin/{name}" for name in listed.split(", ")}
    assert names == linked, f"the installer of the image makes other names than the playbook: {names ^ linked}"

    kubectl("apply", "--filename=-", input=world.pods("nginx", 3))
    addresses = []
    for pod in ready_pods(3):
        interfaces = nodes.interfaces(pod["metadata"]["name"])
        assert set(interfaces) == {"lo", "eth0", "net0"}, interfaces
        number = int(pod["spec"]["nodeName"].removeprefix("node"))
        first, last = nodes.addresses(number)
        [address] = interfaces["net0"]
        assert int(first.split(".")[3]) <= int(address.split(".")[3]) <= int(last.split(".")[3]), f"node{number}: {address}"
        addresses.append(address)
        # The machine is a host on the parent's network, and no part of the cluster.
        assert "Thank you" in page(address), address
    assert len(set(addresses)) == 3, addresses
    other = kube("get", "pods")["items"][1]["status"]["podIP"]
    name = kube("get", "pods")["items"][0]["metadata"]["name"]
    assert "Thank you" in kubectl("exec", name, "--", "wget", "-q", "-O", "-", f"http://{other}/")


def page(address, inside=()):
    """What a pod's web server says; a container that has just started may not listen yet."""
    return world.run(*inside, "curl", "--silent", "--show-error", "--max-time", "5", "--retry", "5", "--retry-connrefused", f"http://{address}/")


def ready_pods(count):
    """The pods of the ReplicationController, when there are so many and all are ready."""
    world.wait(60, f"there are {count} pods", lambda: len(kube("get", "pods")["items"]) == count)
    kubectl("wait", "--for=condition=Ready", "pods", "--all", "--timeout=120s")
    return kube("get", "pods")["items"]


def again(*options):
    """A case: a second run changes nothing."""

    def case(playbooks, nodes):
        before = nodes.state()
        playbooks.changes_nothing(nodes.inventory(), *options)
        unchanged(nodes, before, " ".join(options))

    return case


def refused(playbooks, nodes):
    """What does not go together is refused, and so is taking the network away from pods."""
    before, inventory = nodes.state(), nodes.inventory()
    playbooks.fails(inventory, "kube-install.yml", says="has the DaemonSet kube-multus-ds of an earlier installation")
    playbooks.fails(inventory, "multus-cni.yml", says="its pods have the second network already")
    playbooks.fails(inventory, "multus-remove.yml", says="nobody would remove the networks of default/web-")
    unchanged(nodes, before, "what was refused")


def remove_multus(playbooks, nodes):
    """multus-remove.yml puts the nodes back, and has nothing to do a second time."""
    inventory = nodes.inventory()
    delete_pods()
    before = nodes.state()
    playbooks.changes(inventory, "multus-remove.yml", "--check")
    unchanged(nodes, before, "multus-remove.yml --check")
    playbooks.changes(inventory, "multus-remove.yml")
    unchanged(nodes, nodes.before_multus, "installing and removing")
    playbooks.changes_nothing(inventory, "multus-remove.yml")


def delete_pods():
    """Deletes the ReplicationControllers and waits until their pods are gone."""
    kubectl("delete", "replicationcontroller", "--all", "--wait=true", "--cascade=foreground")
    world.wait(60, "the pods are gone", lambda: not kube("get", "pods")["items"])
    world.wait(60, "their namespaces are gone", lambda: not any("cni-" in world.on(node, "ip", "netns", "list") for node in (1, 2, 3)))


def flannel(playbooks, nodes):
    """Flannel alone: what kube-install.yml does where nothing else is said."""
    # Without the controllers there are no pods: that is said, and the next run waits for what this one has applied.
    world.run(world.SCRIPT, "stop", "controllers")
    says = "waited 1 seconds for kube-flannel-ds and the nodes: error: timed out waiting"
    playbooks.fails(nodes.inventory(), "kube-install.yml", *variables("wait_seconds=1"), says=says)
    world.run(world.SCRIPT, "start", "controllers")
    playbooks.changes_nothing(nodes.inventory(), "kube-install.yml")
    kubectl("apply", "--filename=-", input=world.pods("nginx", 3))
    for pod in ready_pods(3):
        interfaces = nodes.interfaces(pod["metadata"]["name"])
        assert set(interfaces) == {"lo", "eth0"}, interfaces
    playbooks.fails(nodes.inventory(), "kube-install.yml", *variables(MULTUS), says="multus-cni.yml adds the second network to it")
    delete_pods()


def second_network(playbooks, nodes):
    """multus-cni.yml onto a cluster that has flannel: pods that ask for it have net0 besides, others have not."""
    inventory = nodes.inventory()
    nodes.before_second = nodes.state()
    playbooks.changes(inventory, "multus-cni.yml", "--check")
    unchanged(nodes, nodes.before_second, "multus-cni.yml --check")
    playbooks.changes(inventory, "multus-cni.yml")
    kubectl("apply", "--filename=-", input=world.pods("nginx", 1, {"k8s.v1.cni.cncf.io/networks": "macvlan-conf@net0"}))
    [pod] = ready_pods(1)
    interfaces = nodes.interfaces(pod["metadata"]["name"])
    assert set(interfaces) == {"lo", "eth0", "net0"}, interfaces
    assert "Thank you" in page(interfaces["net0"][0]), interfaces
    playbooks.fails(inventory, "multus-remove.yml", says="nobody would remove the networks of default/web-")
    delete_pods()
    kubectl("apply", "--filename=-", input=world.pods("nginx", 1))
    [pod] = ready_pods(1)
    interfaces = nodes.interfaces(pod["metadata"]["name"])
    assert set(interfaces) == {"lo", "eth0"}, interfaces
    delete_pods()


def remove_second_network(playbooks, nodes):
    """First the second network goes and flannel stays; then that goes too."""
    playbooks.changes(nodes.inventory(), "multus-remove.yml")
    unchanged(nodes, nodes.before_second, "adding and removing the second network")
    playbooks.changes(nodes.inventory(), "multus-remove.yml", *variables("remove_flannel=true"))
    unchanged(nodes, nodes.before_multus, "installing and removing flannel")


def stranger(playbooks, nodes):
    """A host that is no node is said to be none."""
    before = nodes.state()
    inventory = nodes.inventory(more=nodes.host(3, "stranger").replace("10.99.0.130", "10.99.0.150").replace("10.99.0.139", "10.99.0.159"))
    playbooks.fails(inventory, "kube-install.yml", says="stranger is not a node of the cluster that kubectl")
    unchanged(nodes, before, "what failed")


def kubeadm(playbooks, hosts):
    """install_kubernetes=true on hosts that have nothing: what is missing is named, --check leaves no file, and one run makes a cluster with two networks."""
    inventory, install = hosts.inventory(), ["kube-install.yml", *variables(MULTUS, "install_kubernetes=true")]
    version = packages.kubernetes()
    given = variables(
        "kubernetes_repository=file:/srv/packages/kubernetes",
        "kubernetes_repository_key=file:///srv/packages/key.asc",
        f"kubernetes_version={version}",
        f"kubernetes_image_repository={fresh.REGISTRY}",
        # The kernel's configuration and cgroup v1, which the test has to live with (fresh.PATCH).
        json.dumps({f"kubeadm_{verb}_arguments": "--patches=/srv/patches --ignore-preflight-errors=SystemVerification" for verb in ("init", "join")}),
    )
    playbooks.fails(inventory, install[0], says="first is not a node of the cluster that kubectl", inside=hosts.inside)
    playbooks.fails(inventory, *install, says='set kubernetes_repository (now "") and kubernetes_repository_key (now "")', inside=hosts.inside)
    playbooks.changes(inventory, *install, *given, "--check", inside=hosts.inside)
    assert not hosts.state(), f"--check left files:\n{hosts.state()}"

    playbooks.changes(inventory, *install, *given, inside=hosts.inside)
    for name in hosts.names:
        held = hosts.on(name, "apt-mark", "showhold").split()
        assert held == ["kubeadm", "kubectl", "kubelet"], held
        versions = hosts.on(name, "dpkg-query", "--show", *held)
        assert versions.count(f"\t{version}{packages.REVISION}\n") == 3, versions
        # What comes after it in conf.d is the test's.
        runtime = hosts.on(name, "cat", "/etc/containerd/config.toml")
        assert "SystemdCgroup = true" in runtime and f"sandbox = '{fresh.REGISTRY}/pause:" in runtime, runtime
    wanted = hosts.kube("get", "configmap", "kubeadm-config", "--namespace=kube-system")["data"]["ClusterConfiguration"]
    for line in (f"imageRepository: {fresh.REGISTRY}", f"kubernetesVersion: v{version}", "podSubnet: 10.244.0.0/16"):
        assert f"{line}\n" in wanted, wanted
    nodes = {node["metadata"]["name"]: node for node in hosts.kube("get", "nodes")["items"]}
    assert set(nodes) == set(hosts.names), nodes
    for node in nodes.values():
        assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{version}", node["status"]["nodeInfo"]
    playbooks.changes_nothing(inventory, *install, *given, inside=hosts.inside)


def kubeadm_pods(_, hosts):
    """Pods of that cluster have both networks, reach each other, and have a service with a name."""
    hosts.kubectl("taint", "nodes", "first", "node-role.kubernetes.io/control-plane:NoSchedule-")
    hosts.kubectl("apply", "--filename=-", input=world.pods(f"{fresh.REGISTRY}/nginx:1", 2))
    hosts.kubectl("expose", "replicationcontroller", "web", "--port=80")
    world.wait(60, "there are two pods", lambda: len(hosts.kube("get", "pods")["items"]) == 2)
    # All that kubeadm runs, its kube-proxy and CoreDNS included.
    hosts.kubectl("wait", "--for=condition=Ready", "pods", "--all", "--all-namespaces", "--timeout=180s")
    pods = hosts.kube("get", "pods")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == set(hosts.names), pods
    for pod in pods:
        node = pod["spec"]["nodeName"]
        interfaces = world.interfaces(pod, lambda *command, node=node: hosts.on(node, *command))
        assert set(interfaces) == {"lo", "eth0", "net0"}, interfaces
        [address] = interfaces["net0"]
        assert re.fullmatch(rf"{re.escape(fresh.NETWORK)}[.]1{hosts.names.index(node)}[0-9]", address), address
        assert "Thank you" in page(address, inside=hosts.inside)
    # Across flannel's route; and by CoreDNS and kube-proxy.
    for there in (pods[1]["status"]["podIP"], "web.default.svc.cluster.local"):
        assert "Thank you" in hosts.kubectl("exec", pods[0]["metadata"]["name"], "--", "wget", "-q", "-O", "-", f"http://{there}/"), there


WITHOUT_KUBERNETES = [
    ("kubeadm makes a cluster of hosts without Kubernetes", kubeadm),
    ("its pods have two networks, a service and a name", kubeadm_pods),
]

ON_A_CLUSTER = [
    ("a wrong variable is named, and nothing is touched", wrong_variables),
    ("pod_network_type=none changes nothing", no_network),
    ("--check on fresh nodes changes nothing", check_mode),
    ("kube-install.yml -e pod_network_type=multus: lo, eth0, net0", multus),
    ("a second run changes nothing", again("kube-install.yml", "-e", MULTUS)),
    ("what does not go together is refused", refused),
    ("multus-remove.yml puts the nodes back", remove_multus),
    ("kube-install.yml: flannel alone, and a second run", flannel),
    ("multus-cni.yml adds a network to flannel", second_network),
    ("a second run of multus-cni.yml changes nothing", again("multus-cni.yml")),
    ("multus-remove.yml takes away one, then the other", remove_second_network),
    ("a host that is no node is named", stranger),
]
