# What a developer types. Everything is done by `cargo xtask` (xtask/): `cargo xtask --help` shows all options.

export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help demo demo-clean test e2e ansible-test bench bench-cluster build image

help:
	@echo 'make demo         the article: two pods with lo, eth0 (flannel) and net0 (macvlan), in a world of namespaces'
	@echo 'make demo KEEP=1  the same, left up to look around; make demo-clean removes it'
	@echo 'make test         every test tier'
	@echo 'make e2e          the suite on a real Kubernetes: three nodes on this machine, or the cluster of KUBECONFIG'
	@echo 'make ansible-test the playbooks of deploy/ansible over SSH, onto three nodes on this machine'
	@echo 'make bench        Plexus, the Go plugins and the kernel floor, side by side'
	@echo 'make bench-cluster  Plexus and Multus with a real API server, on a cluster of one node'
	@echo 'make build        the static binary'
	@echo 'make image        the container image: the static binary and nothing else; and that beside it'

demo:
	@cargo xtask demo $(if $(KEEP),--keep)

demo-clean:
	@cargo xtask demo-clean

test:
	@cargo xtask test

e2e:
	@KEEP=$(KEEP) tests/e2e/run

ansible-test:
	@KEEP=$(KEEP) tests/ansible/run

bench:
	@cargo xtask bench

bench-cluster:
	@cargo xtask bench-cluster

build:
	@cargo xtask build

image:
	@cargo xtask image
