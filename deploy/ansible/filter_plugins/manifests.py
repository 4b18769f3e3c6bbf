"""The manifests of deploy/ with the variables in them. Pure functions: objects in, objects out; what is not named here stays as it is in deploy/."""

import copy
import hashlib
import ipaddress
import json

import yaml

IMAGE = "plexus.local/plexus-node:0.1.0"
CHECKSUM = "plexus/configuration"
# The containers of deploy/article/multus.yaml.
FLANNEL, INSTALLER = "kube-flannel", "install-cni"


def _only(objects, kind):
    """The one object of this kind."""
    found = [o for o in objects if o["kind"] == kind]
    if len(found) != 1:
        raise ValueError(f"deploy/ has {len(found)} objects of kind {kind} where one was expected: are deploy/ and the playbooks of one version?")
    return found[0]


def _container(daemonset, name):
    return next(c for c in daemonset["spec"]["template"]["spec"]["containers"] if c["name"] == name)


def _complete(objects, image):
    """The image, and pods that are made anew when the ConfigMap changes."""
    daemonset, config = _only(objects, "DaemonSet"), _only(objects, "ConfigMap")
    template = daemonset["spec"]["template"]
    for container in template["spec"]["containers"]:
        if container["image"] == IMAGE:
            container["image"] = image
    data = json.dumps(config["data"], sort_keys=True).encode()
    template["metadata"].setdefault("annotations", {})[CHECKSUM] = hashlib.sha256(data).hexdigest()
    return objects


def _set_network(config, cidr):
    """flannel's net-conf.json."""
    network = json.loads(config["data"]["net-conf.json"])
    network["Network"] = str(cidr)
    config["data"]["net-conf.json"] = json.dumps(network)


def _node(host):
    """The host's name in Kubernetes."""
    return str(host.get("kubernetes_node_name", host["inventory_hostname"]))


def _macvlan(configuration, host):
    """The article's second network with this host's values."""
    macvlan = copy.deepcopy(next(d for d in configuration["delegates"] if d["type"] == "macvlan"))
    macvlan["master"] = str(host["multus_master"])
    ipam = macvlan["ipam"]
    ipam["subnet"] = str(host["multus_subnet"])
    ipam["rangeStart"], ipam["rangeEnd"] = str(host["multus_range_start"]), str(host["multus_range_end"])
    ipam.pop("gateway")
    if host.get("multus_gateway"):
        ipam["gateway"] = str(host["multus_gateway"])
    default = "::/0" if ipaddress.ip_network(ipam["subnet"]).version == 6 else "0.0.0.0/0"
    ipam["routes"] = [{"dst": default}]
    return macvlan


def _article(text):
    objects = list(yaml.safe_load_all(text))
    return objects, json.loads(_only(objects, "ConfigMap")["data"]["cni-conf.json"])


def article_manifest(text, hosts, cidr, image):
    """deploy/article/multus.yaml: flannel, and the article's configuration, each node's with its own part of the addresses."""
    objects, configuration = _article(text)
    config, daemonset = _only(objects, "ConfigMap"), _only(objects, "DaemonSet")
    _set_network(config, cidr)
    del config["data"]["cni-conf.json"]
    files = []
    for host in hosts:
        own = copy.deepcopy(configuration)
        at = next(i for i, d in enumerate(own["delegates"]) if d["type"] == "macvlan")
        own["delegates"][at] = _macvlan(configuration, host)
        key = f"cni-conf.{_node(host)}.json"
        config["data"][key] = json.dumps(own, indent=2)
        files.append({"key": key, "path": f"{_node(host)}/10-multus.conf"})
    installer = _container(daemonset, INSTALLER)
    installer["args"] = [
        a.replace("/etc/kube-multus/", "/etc/kube-multus/$(NODE_NAME)/") for a in installer["args"]
    ]
    installer["env"] = [*installer.get("env", []), *_container(daemonset, FLANNEL)["env"]]
    volumes = daemonset["spec"]["template"]["spec"]["volumes"]
    next(v for v in volumes if v["name"] == "multus-cfg")["configMap"]["items"] = files
    return _complete(objects, image)


def flannel_manifest(text, cidr, image):
    """What deploy/article/multus.yaml has of flannel, under flannel's name."""
    objects, _ = _article(text)
    config, daemonset = _only(objects, "ConfigMap"), _only(objects, "DaemonSet")
    _set_network(config, cidr)
    del config["data"]["cni-conf.json"]
    pod = daemonset["spec"]["template"]["spec"]
    pod["containers"] = [_container(daemonset, FLANNEL)]
    mounted = [m["name"] for m in pod["containers"][0]["volumeMounts"]]
    pod["volumes"] = [v for v in pod["volumes"] if v["name"] in mounted]
    return json.loads(json.dumps(_complete(objects, image)).replace("multus", "flannel"))


def base_manifest(texts, options, image):
    """deploy/base, whose kustomization names the files that are `texts`."""
    objects = [o for text in texts for o in yaml.safe_load_all(text)]
    data = _only(objects, "ConfigMap")["data"]
    unknown = sorted(set(options) - set(data))
    if unknown:
        raise ValueError(f"plexus_options has {', '.join(unknown)}; there is: {', '.join(sorted(data))}")
    data.update({key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in options.items()})
    return _complete(objects, image)


def second_network(text, host, name):
    """The article's second network as a configuration of its own, for a file on the node."""
    _, configuration = _article(text)
    return {"cniVersion": "1.0.0", "name": name, **_macvlan(configuration, host)}


def node_names(hosts):
    """The hosts' names in Kubernetes."""
    return [_node(host) for host in hosts]


class FilterModule:
    """Tells Ansible the names."""

    def filters(self):
        """The filters of this file."""
        return {
            "article_manifest": article_manifest,
            "flannel_manifest": flannel_manifest,
            "base_manifest": base_manifest,
            "second_network": second_network,
            "node_names": node_names,
        }
