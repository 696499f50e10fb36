# The few verbs people guess. `make` alone lists them; what stands behind each is in dev/README.md.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/streamkeeper
export CARGO_TARGET_DIR ?= $(CACHE)/target
export CLUSTER_CACHE ?= $(CACHE)/cluster
export PYTHONPATH := $(CURDIR)
export PYTHONDONTWRITEBYTECODE := 1
NODES ?= 3
PROFILE ?= dev
JOBS ?= 1000,5000
PYTHON := python3 -u
# Guards that negative controls can switch off. No image is built with them.
CONTROLS := streamkeeper-node/test-unfenced,streamkeeper/test-acts-first
.DEFAULT_GOAL := help
.PHONY: help setup cluster-up cluster-down cluster-status node-kill node-start node-partition node-heal \
  images s3 demo attack test test-rust test-dev test-e2e cases faults slow-store crash-plans operator-upgrade bench bench-operator crds circles lint deny

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## the whole story on a real cluster, ends with a ledger (FULL=1: a year of data; KEEP=1: leave it up)
	FULL=$(FULL) KEEP=$(KEEP) $(PYTHON) dev/demo/run.py
test: setup lint test-dev test-rust cases test-e2e attack ## every tier of tests, from nothing
test-rust: setup ## unit, story and engine tests, beside an S3 server of their own
	dev/s3/local -- cargo test --workspace --locked --features $(CONTROLS)
test-dev: ## tests of the tools in dev/
	$(PYTHON) -m unittest discover -s dev -t .
test-e2e: setup ## end-to-end stories on the cluster
	$(PYTHON) -m dev.e2e
cases: setup ## inputs that once gave a wrong answer (ONLY=part of a name)
	cargo build --workspace --locked --bin streamjob-runtime --test documentation
	$(PYTHON) -m dev.cases $(ONLY)
setup: ## install and build what demo and test stand on; quick when it is there
	@dev/setup
cluster-up: ## start the cluster (NODES=3)
	@dev/setup cluster
	@$(PYTHON) -m dev.lib.cluster up $(NODES)
cluster-down: ## stop it, leave nothing behind
	@$(PYTHON) -m dev.lib.cluster down
cluster-status: ## its nodes, pods, memory
	@$(PYTHON) -m dev.lib.cluster status
node-kill: ## power off node I=1; also node-start, node-partition, node-heal
node-kill node-start node-partition node-heal:
	@$(PYTHON) -m dev.lib.cluster $@ $(or $(I),$(error which node? I=0, I=1, ...))
images: ## build the images and load them into the cluster, if one runs (PROFILE=release)
	$(PYTHON) -m dev.images --profile $(PROFILE)
s3: images ## put the S3 server into the cluster and check it
	$(PYTHON) -m dev.s3.install && $(PYTHON) -m dev.s3.check
attack: setup ## play the attacks of docs/threat-model.md on the cluster (ATTACK=word for some)
	$(PYTHON) -m dev.attack $(ATTACK)
faults: setup ## a job under load through N=100 seeded faults (SEED=...), with a ledger
	N=$(N) SEED=$(SEED) KEEP=$(KEEP) $(PYTHON) dev/faults/run.py
slow-store: setup ## a job whose store passes 1 MiB/s, then answers 503 for 10 minutes (OUTAGE=600 seconds, LIMIT=512 MiB a worker)
	cargo build --workspace --locked --bin streamjob-runtime --test documentation
	$(PYTHON) -m dev.slow_store --outage-seconds $(or $(OUTAGE),600) --limit $(or $(LIMIT),512)
crash-plans: setup ## kill the real operator at each of its writes (CRASH_ONLY=upgrade, CRASH_AT_ONCE=8, CRASH_SEED, CRASH_PLANS=100)
	CRASH_PLANS=$(or $(CRASH_PLANS),all) cargo test --workspace --locked --features $(CONTROLS) \
	  --test crashes killing -- --nocapture
operator-upgrade: setup ## FROM=<commit>: that commit's operator, this one, that one again, below running jobs
	PREVIOUS=$(FROM) $(PYTHON) -m dev.e2e exchanged_and_exchanged_back
bench: ## events per CPU-second of the engine
	cargo run --locked --release --package streamkeeper-node --bin streamjob-runtime -- bench
bench-operator: ## what the operator costs with JOBS=1000,5000 idle jobs: start, memory, writes, latency
	@dev/setup cluster
	cargo build --workspace --locked --bin streamkeeper
	$(PYTHON) -m dev.bench_operator --jobs $(JOBS)
crds: ## write crds/ and the copy of the chart from the Rust types
	UPDATE_GENERATED=1 cargo test --workspace --locked --test crds the_generated_files_are_current
lint: setup circles ## formatting, clippy, chart, circles of files
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(PYTHON) -m dev.lib.cluster helm lint --strict charts/streamkeeper
circles: ## files that import each other; none is the goal, and lint holds it
	$(PYTHON) -m dev.circles
deny: ## licences, advisories, sources of every dependency
	@test -x $(CACHE)/tools/bin/cargo-deny || cargo install --locked --root $(CACHE)/tools cargo-deny
	$(CACHE)/tools/bin/cargo-deny check
