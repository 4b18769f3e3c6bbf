#!/usr/bin/env python3
"""A registry of the images that kubeadm asks for, made of tests/cluster's real programs: `make`, and `registry.py ADDRESS PORT FOLDER`, which serves
them over HTTP (the reading half of the OCI distribution specification).
"""

import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")


def make(world, folder):
    """Images in folder: blobs by their digests, and manifests/NAME/TAG. All of Kubernetes is one layer, since it is one program."""
    (folder / "blobs").mkdir(parents=True)
    programs = world.KUBE_BIN
    box = world.run("sh", "-c", "command -v busybox").strip()
    world.run("gcc", "-static", "-O2", "-o", folder / "pause", world.TOP / "tests/cluster/pause.c")
    applets = {f"bin/{name}": "busybox" for name in world.run(box, "--list").split() if name != "busybox"}
    page = folder / "index.html"
    page.write_text("<p><em>Thank you for using nginx.</em></p>\n")
    kube = _layer(folder, {"usr/local/bin/kube": programs / "kube"}, {f"usr/local/bin/{name}": "kube" for name in SERVERS})
    images = {
        **dict.fromkeys(SERVERS, ([kube], [])),
        "kube-proxy": ([kube, _iptables(world, folder)], []),
        "pause": ([_layer(folder, {"pause": folder / "pause"})], ["/pause"]),
        "coredns": ([_layer(folder, {"coredns": programs / "coredns"})], ["/coredns"]),
        "nginx": ([_layer(folder, {"bin/busybox": box, "www/index.html": page}, applets)], ["/bin/httpd", "-f", "-p", "80", "-h", "/www"]),
    }
    version = world.run(programs / "kubeadm", "version", "--output=short").strip()
    listed = world.run(programs / "kubeadm", "config", "images", "list", "--image-repository=there", f"--kubernetes-version={version}")
    for name, tag in [image.removeprefix("there/").split(":") for image in listed.split()] + [["nginx", "1"]]:
        layers, entry = images[name]
        config = {"architecture": _architecture(), "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
        config["config"] = {"Entrypoint": entry, "Env": ["PATH=/usr/local/bin:/usr/sbin:/bin"]}
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": _blob(folder, config, CONFIG), "layers": layers}
        manifest = _blob(folder, content, MANIFEST)
        path = folder / "manifests" / name / tag
        path.parent.mkdir(parents=True)
        path.write_text(manifest["digest"])


def _iptables(world, folder):
    """The machine's iptables, which kube-proxy calls as kubeadm sets it up."""
    program = pathlib.Path(world.run("sh", "-c", "readlink -f $(command -v iptables)").strip())
    extensions = [str(path) for path in pathlib.Path("/usr/lib").glob("*/xtables/*.so")]
    libraries = re.findall(r"(/\S+) \(0x", world.run("ldd", program, *extensions))
    files = {path.removeprefix("/"): path for path in (*libraries, *extensions)}
    names = [f"{family}{verb}" for family in ("iptables", "ip6tables") for verb in ("", "-save", "-restore")]
    return _layer(folder, {f"usr/sbin/{program.name}": program, **files}, {f"usr/sbin/{name}": program.name for name in names})


def _architecture():
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _blob(folder, value, media):
    content = json.dumps(value).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    (folder / "blobs" / digest).write_bytes(content)
    return {"mediaType": media, "digest": digest, "size": len(content)}


def _layer(folder, files, links=None):
    """A layer of files (path to where it is) and symbolic links."""
    path = folder / "layer.tar"
    with tarfile.open(path, "w") as tar:
        for name, file in files.items():
            tar.add(os.path.realpath(file), arcname=name)
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    with path.open("rb") as opened:
        digest = f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"
    size = path.stat().st_size
    path.rename(folder / "blobs" / digest)
    return {"mediaType": LAYER, "digest": digest, "size": size}


class Handler(http.server.BaseHTTPRequestHandler):
    """GET and HEAD of /v2/NAME/manifests/TAG-OR-DIGEST and /v2/NAME/blobs/DIGEST."""

    protocol_version = "HTTP/1.1"
    folder = None

    def do_GET(self):  # noqa: N802 # http.server's name for it
        self._answer(True)

    def do_HEAD(self):  # noqa: N802
        self._answer(False)

    def _answer(self, body):
        parts = self.path.split("?")[0].strip("/").split("/")
        path, media = None, "application/octet-stream"
        if len(parts) == 4 and not any(part.startswith(".") for part in parts):
            _, name, kind, wanted = parts
            if kind == "manifests":
                media = MANIFEST
                tag = self.folder / "manifests" / name / wanted
                wanted = tag.read_text() if tag.exists() else wanted
            path = self.folder / "blobs" / wanted
        if self.path.strip("/") != "v2" and not (path and path.exists()):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(path.stat().st_size if path else 0))
        if path:
            self.send_header("Docker-Content-Digest", path.name)
        self.end_headers()
        if body and path:
            with path.open("rb") as opened:
                shutil.copyfileobj(opened, self.wfile)


if __name__ == "__main__":
    Handler.folder = pathlib.Path(sys.argv[3])
    http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
