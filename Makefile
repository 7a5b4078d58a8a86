# The commands of the project. `make help` lists them.
SHELL := /bin/bash
CARGO := cargo
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run build test check bench fuzz cargo-is-here

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

cargo-is-here:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing; install Rust with rustup (https://rustup.rs) or your distribution's package"; exit 1; }

run: cargo-is-here ## build, and run three regions and a Walrus here; ARGS="--help" lists options
	$(CARGO) build --release --locked -p wcdn-dev -p wcdn-node -p wcdn-control-plane -p wcdn
	@exec "$${CARGO_TARGET_DIR:-target}/release/wcdn-dev" $(ARGS)

build: cargo-is-here ## build the programs into target/release
	$(CARGO) build --release --locked -p wcdn-dev -p wcdn-node -p wcdn-control-plane -p wcdn

test: cargo-is-here ## install what tests need, and run all of them
	@scripts/install test
	$(CARGO) build --locked --workspace --bins
	$(CARGO) test --locked --workspace
	$(CARGO) test --locked -p wcdn-daemon --features otlp --test otlp

check: cargo-is-here ## formatting, lints, docs, licences, file lengths
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked -p wcdn-node --all-targets --features otlp -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps
	@scripts/file-lengths
	@scripts/deny

bench: cargo-is-here ## micro benches, the edge beside nginx, Varnish and HAProxy, and what was promised
	@scripts/install bench
	$(CARGO) bench --locked -p wcdn-bench
	$(CARGO) build --release --locked -p wcdn-node -p wcdn-control-plane -p wcdn-bench
	"$${CARGO_TARGET_DIR:-target}/release/wcdn-bench" $(ARGS)

# The properties are tests like any other. What they may reject grows with the cases.
fuzz: cargo-is-here ## the property tests of every parser, with many more cases
	PROPTEST_CASES=$${PROPTEST_CASES:-20000} PROPTEST_MAX_GLOBAL_REJECTS=1000000 \
	$(CARGO) test --locked --release --no-fail-fast --lib -p wcdn-proto -p wcdn-walrus -p wcdn-gossip -p wcdn-daemon -p wcdn-node -p wcdn-control-plane
	PROPTEST_CASES=$${PROPTEST_CASES:-20000} $(CARGO) test --locked --release --no-fail-fast --bins -p wcdn
