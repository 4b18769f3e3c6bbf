"""Debian repositories for hosts without Kubernetes: what Kubernetes and a distribution offer, made of tests/cluster's real programs."""

import gzip
import hashlib
import os
import shutil
import subprocess
import time

import world

# Where Kubernetes' own packages have what follows.
UNIT = "[Unit]\nDescription={}\n[Service]\nType={}\nExecStart={}\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"
KUBEADM_CONF = """[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"""
UNITS = "usr/lib/systemd/system"
# As Kubernetes counts its packages.
REVISION = "-1.1"


def kubernetes():
    """The version of tests/cluster's Kubernetes, without the v."""
    return world.run(world.KUBE_BIN / "kubeadm", "version", "--output=short").strip().removeprefix("v")


def newer(version):
    """A version that is not the wanted one, and that apt would take if it were not told which."""
    first, _, last = version.rpartition(".")
    return f"{first}.{int(last) + 1}"


def offer(folder):
    """Makes folder/packages with the repositories `kubernetes` and `distribution` and the key that signed them."""
    programs = world.KUBE_BIN
    version = kubernetes()
    # One program is all of Kubernetes here (tests/cluster/kube/main.go): it is in a package that the others need.
    depends = f"Depends: kube-all (= {version}{REVISION})\n"
    enable = "#!/bin/sh\nsystemctl enable {}\n"
    links = {name: {"links": {f"usr/bin/{name}": "../lib/kube"}, "control": depends} for name in ("kubeadm", "kubelet", "kubectl")}
    links["kubeadm"]["texts"] = {f"{UNITS}/kubelet.service.d/10-kubeadm.conf": KUBEADM_CONF}
    links["kubelet"]["texts"] = {f"{UNITS}/kubelet.service": UNIT.format("kubelet", "simple", "/usr/bin/kubelet"), "DEBIAN/postinst": enable.format("kubelet")}
    packages = [("kube-all", version + REVISION, {"programs": {"usr/lib/kube": programs / "kube"}})]
    packages += [(name, version + REVISION, content) for name, content in links.items()]
    packages += [(name, newer(version) + REVISION, {}) for name in links]
    _repository(folder, "kubernetes", packages)
    containerd = {f"usr/bin/{name}": programs / name for name in ("containerd", "ctr", "containerd-shim-runc-v2")}
    texts = {f"{UNITS}/containerd.service": UNIT.format("containerd", "notify", "/usr/bin/containerd"), "DEBIAN/postinst": enable.format("containerd")}
    # Above any version that the machine may have.
    _repository(folder, "distribution", [("containerd", "99.0-1", {"programs": containerd, "texts": texts})])


def _package(root, file, control, content):
    """A Debian package."""
    for path, program in content.get("programs", {}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, root / path)
    for path, target in content.get("links", {}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    for path, text in {"DEBIAN/control": control, **content.get("texts", {})}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755 if path == "DEBIAN/postinst" else 0o644)
    # To compress them costs more than to carry them.
    world.run("dpkg-deb", "-Znone", "--build", "--root-owner-group", root, file)
    shutil.rmtree(root)


def _repository(folder, name, packages):
    """A flat Debian repository with an index that is signed."""
    top = folder / "packages" / name
    top.mkdir(parents=True)
    architecture = world.run("dpkg", "--print-architecture").strip()
    index = ""
    for package, version, content in packages:
        control = f"Package: {package}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: test <test@plexus.local>\n"
        control += f"{content.get('control', '')}Description: of a test\n"
        file = top / f"{package}_{version}_{architecture}.deb"
        _package(folder / "build" / package, file, control, content)
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        index += f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"
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
        _gpg(home, "--quick-generate-key", "test <test@plexus.local>", "ed25519", "sign", "1d")
        (folder / "packages/key.asc").write_text(_gpg(home, "--armor", "--export"))
    _gpg(home, "--clearsign", "--output", top / "InRelease", top / "Release")


def _gpg(home, *arguments):
    """gpg without an agent that stays."""
    environment = {**os.environ, "GNUPGHOME": str(home)}
    try:
        return world.run("gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", *arguments, env=environment)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)
