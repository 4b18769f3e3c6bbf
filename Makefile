# What a developer types. Everything is done by `cargo xtask` (xtask/): `cargo xtask --help` shows all options.

export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin

# A fresh machine: what is missing, and what a first run waits for, which cargo says nothing about.
define xtask
@for tool in cargo cc; do command -v $$tool >/dev/null || { \
	echo "$$tool is not in PATH: this needs Rust (from rustup, for $$(id -un)) and a C compiler (Debian: gcc libc6-dev)" >&2; exit 1; }; done; \
[ -x "$${CARGO_TARGET_DIR:-target}/debug/xtask" ] || echo 'compiling the tool that does this (cargo xtask): a minute or more' >&2; \
cargo xtask
endef

.PHONY: help demo demo-clean test e2e kernel-test ansible-test bench bench-cluster build image

help:
	@echo 'make demo         the article: two pods with lo, eth0 (flannel) and net0 (macvlan), in a world of namespaces'
	@echo 'make demo KEEP=1  the same, left up to look around; make demo-clean removes it'
	@echo 'make test         every test tier'
	@echo 'make e2e          the suite on a real Kubernetes: three nodes on this machine, or the cluster of KUBECONFIG'
	@echo 'make kernel-test  bridge VLANs and more on the kernel of Debian, in an emulated machine'
	@echo 'make ansible-test the playbooks of deploy/ansible over SSH, onto three nodes on this machine'
	@echo 'make bench        Plexus, the Go plugins and the kernel floor, side by side'
	@echo 'make bench-cluster  Plexus and Multus with a real API server, on a cluster of one node'
	@echo 'make build        the static binary'
	@echo 'make image        the container image: the static binary and nothing else; and that beside it'

demo:
	$(xtask) demo $(if $(KEEP),--keep)

demo-clean:
	$(xtask) demo-clean

test:
	$(xtask) test

e2e:
	@tests/e2e/run

kernel-test:
	@tests/kernel/run

ansible-test:
	@tests/cluster/build.sh || { status=$$?; [ $$status = 3 ] && [ -z "$$CI" ] || exit $$status; \
	echo 'skipped: the playbooks are tested on a Kubernetes that is built with Go' >&2; exit 0; }; exec tests/ansible/run

bench:
	$(xtask) bench

bench-cluster:
	$(xtask) bench-cluster

build:
	$(xtask) build

image:
	$(xtask) image
