# shellcheck shell=bash
# What flannel's daemon gives a node: a file that describes its subnet, and routes to the other nodes' subnets (its host-gw backend).

subnet() { kubectl get node "node$1" -o 'jsonpath={.spec.podCIDR}' | grep .; }

flannel() {
    local i j
    : >"$CLUSTER/flannel"
    for i in $(nodes); do
        wait_for 120 subnet "$i"
        mkdir -p "$CLUSTER/n$i/run/flannel"
        printf 'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=%s\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n' "$(subnet "$i" | sed 's|0/24|1/24|')" \
            >"$CLUSTER/n$i/run/flannel/subnet.env"
        for j in $(nodes); do
            [[ $i == "$j" ]] || ip -n "node$j" route replace "$(subnet "$i")" via "10.99.0.$((10 + i))"
        done
    done
}
