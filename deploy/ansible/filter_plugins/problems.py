"""What is wrong with variables, in sentences that name the variable, the host and the remedy."""

import ipaddress

WHERE = "set it in the inventory's group_vars/all.yml, for the host in the inventory, or by -e"


def _parse(kind, host, name, problems, required=True):
    """The host's variable as an address or network; None if there is none, or a problem with it."""
    value = host.get(name)
    if value in (None, ""):
        if required:
            problems.append(f"{name} is not set for {host['inventory_hostname']}: {WHERE}")
        return None
    try:
        return kind(str(value))
    except ValueError as error:
        problems.append(f"{name}={value} of {host['inventory_hostname']} cannot be used: {error}")
        return None


def second_network_problems(hosts, ranges_may_overlap):
    """`hosts` are the hosts' variables. A list of sentences; empty if all is well."""
    problems = []
    ranges = []
    for host in hosts:
        name = host["inventory_hostname"]
        if host.get("multus_master") in (None, ""):
            problems.append(f"multus_master, the parent interface of the second network, is not set for {name}: {WHERE}")
        subnet = _parse(ipaddress.ip_network, host, "multus_subnet", problems)
        gateway = _parse(ipaddress.ip_address, host, "multus_gateway", problems, required=False)
        start = _parse(ipaddress.ip_address, host, "multus_range_start", problems)
        end = _parse(ipaddress.ip_address, host, "multus_range_end", problems)
        if subnet:
            for variable, address in (("multus_gateway", gateway), ("multus_range_start", start), ("multus_range_end", end)):
                if address and address not in subnet:
                    problems.append(f"{variable}={address} of {name} is not in multus_subnet={subnet}")
        if not start or not end or start.version != end.version:
            continue
        if start > end:
            problems.append(f"multus_range_start={start} of {name} comes after multus_range_end={end}")
        if gateway and gateway.version == start.version and start <= gateway <= end:
            problems.append(f"multus_gateway={gateway} of {name} is one of the addresses for pods ({start} to {end})")
        ranges.append((name, start, end))
    if not ranges_may_overlap:
        for at, (name, start, end) in enumerate(ranges):
            for other, other_start, other_end in ranges[at + 1 :]:
                if start.version == other_start.version and start <= other_end and other_start <= end:
                    problems.append(
                        f"multus_range_start and multus_range_end of {name} ({start} to {end}) and of {other} ({other_start} to {other_end}) "
                        "overlap: two pods would get one address; give each host a part of its own in the inventory, or set "
                        "multus_ranges_may_overlap=true where the parents are not on one network"
                    )
    return problems


def network_problems(value, name):
    """The same for one variable that is a network."""
    problems = []
    _parse(ipaddress.ip_network, {"inventory_hostname": "all hosts", name: value}, name, problems)
    return problems


class FilterModule:
    """Tells Ansible the names."""

    def filters(self):
        """The filters of this file."""
        return {"second_network_problems": second_network_problems, "network_problems": network_problems}
