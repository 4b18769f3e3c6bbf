# shellcheck shell=bash
# Certificates, the outside network, etcd, API server, controllers and scheduler.

# certificate NAME SUBJECT ALTERNATIVE-NAMES, in $PKI.
certificate() {
    openssl req -newkey rsa:2048 -nodes -keyout "$PKI/$1.key" -out "$PKI/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -out "$PKI/$1.crt" -days 3650 \
        -extfile <(echo "subjectAltName=$3") 2>/dev/null
}

# kubeconfig NAME: $CLUSTER/NAME.conf for the certificate of that name.
kubeconfig() {
    cat >"$CLUSTER/$1.conf" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://10.99.0.1:6443", certificate-authority: $PKI/ca.crt}}]
users: [{name: u, user: {client-certificate: $PKI/$1.crt, client-key: $PKI/$1.key}}]
contexts: [{name: d, context: {cluster: c, user: u}}]
current-context: d
YAML
}

certificates() {
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$PKI/ca.key" -out "$PKI/ca.crt" -subj /CN=ca -days 3650 2>/dev/null
    certificate apiserver /CN=kube-apiserver IP:10.99.0.1,IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc
    certificate admin /O=system:masters/CN=admin DNS:admin
    openssl genrsa -out "$PKI/sa.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/sa.key" -pubout -out "$PKI/sa.pub" 2>/dev/null
    kubeconfig admin
}

# The nodes' network, of which the machine is a host too.
outside_up() {
    # How it was, for `down`.
    sysctl -n net.ipv4.ip_forward >"$CLUSTER/ip_forward"
    sysctl -qw net.ipv4.ip_forward=1
    ip link add lan0 type bridge
    ip link set lan0 alias "$ALIAS"
    ip addr add 10.99.0.1/24 dev lan0
    ip link set lan0 up
}

outside_down() {
    local link
    for link in $(links); do
        ip link del "$link" 2>/dev/null || true
    done
    if [[ -s $CLUSTER/ip_forward ]]; then sysctl -qw net.ipv4.ip_forward="$(cat "$CLUSTER/ip_forward")"; fi
}

# Every request, once, when it is answered: who, what, which answer; no bodies.
audit() {
    cat >"$CLUSTER/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
YAML
}

control_plane_up() {
    audit
    spawn etcd etcd --data-dir "$CLUSTER/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
    # shellcheck disable=SC2086 # API_ARGS are words
    spawn api kube-apiserver --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range=10.96.0.0/16 --cert-dir="$CLUSTER/apicert" \
        --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
        --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
        --service-account-issuer=https://kubernetes.default.svc --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
        --allow-privileged --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate="$PKI/admin.crt" \
        --kubelet-client-key="$PKI/admin.key" --advertise-address=10.99.0.1 --bind-address=0.0.0.0 --audit-policy-file="$CLUSTER/audit.yaml" \
        --audit-log-path="$LOG/audit.json" ${API_ARGS:-}
    wait_for 240 kubectl get --raw /readyz
    spawn controllers kube-controller-manager --kubeconfig="$CLUSTER/admin.conf" --service-account-private-key-file="$PKI/sa.key" \
        --root-ca-file="$PKI/ca.crt" --use-service-account-credentials --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 \
        --leader-elect=false --kube-api-qps=200 --kube-api-burst=400
    spawn scheduler kube-scheduler --kubeconfig="$CLUSTER/admin.conf" --leader-elect=false --kube-api-qps=200 --kube-api-burst=400
}

# Nobody reads what they would still write, and the API server takes its time over it.
control_plane_down() {
    local name
    for name in scheduler controllers api etcd; do
        stop "$name" -KILL
    done
}
