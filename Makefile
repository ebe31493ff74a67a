# The two commands of the README are `make demo` and `make test`; the rest serves those who change the code.

CARGO ?= cargo

.PHONY: help setup build demo test lint bench-engine bench-path bench-backlog endurance endurance-build fuzz fmt clean

help:
	@echo "make demo   build, run the four daemons on loopback with sample logs and captures, show the incidents"
	@echo "make test   everything: unit, integration, corpus, layers, live"
	@echo "make lint   formatting, clippy with warnings as errors, documentation"
	@echo "make bench-engine   our engine beside rsigma-eval, same events and rules in one run"
	@echo "make endurance      kill -9, power cuts, 5,000 agents, a day's backlog against the real daemons (docs/endurance.md)"
	@echo "make bench-backlog  the backlog alone; BACKLOG_LINES=20000000 is the whole day"
	@echo "make bench-path     one host to one journal over TLS beside rsyslog, and what the agent weighs"
	@echo "make fuzz   every reader of foreign bytes under a fuzzer, FUZZ_SECONDS each (default 60)"
	@echo "make fmt    format the sources"

setup:
	@.ci/setup

build: setup
	$(CARGO) build --workspace --bins

demo: build
	@test-corpus/demo/run

test: setup
	$(CARGO) test --workspace
	@systemd/verify.sh
	@test-corpus/live/run

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check bans licenses sources; \
	else echo "lint: cargo-deny is not installed, licences and bans not checked (cargo install cargo-deny)"; fi

# Needs the folder of public test data beside the checkout; builds a peer outside the workspace.
BENCH = $(CARGO) run --release --quiet --manifest-path rules/bench/Cargo.toml -- ../shared/corpus
bench-engine: setup
	$(BENCH) --workload all --events 400000 --rules windows
	$(BENCH) --workload process --events 100000 --rules windows
	$(BENCH) --workload unique --events 100000 --rules windows
	$(BENCH) --workload all --events 400000 --rules all

# Every run says its seed; SEED=... repeats its schedule. What each part proves: docs/endurance.md.
SEED := $(or $(SEED),$(shell date +%s))
KILLS ?= 200
POWER_CUTS ?= 60
AGENTS ?= 5000
BACKLOG_LINES ?= 1000000
BACKLOG_LETTERS ?= 60
ENDURE = target/release/canh-endurance --seed $(SEED)
endurance-build: setup
	$(CARGO) build --release -p canh-log-agent -p canh-collector -p canh-correlator -p canh-endurance
endurance: endurance-build
	@echo "endurance: seed $(SEED); again with: make endurance SEED=$(SEED)"
	@$(ENDURE) kills --cuts $(KILLS)
	@$(ENDURE) power --cuts $(POWER_CUTS)
	@$(ENDURE) crowd --agents $(AGENTS)
	@$(ENDURE) backlog --lines $(BACKLOG_LINES) --letters $(BACKLOG_LETTERS)
bench-backlog: endurance-build
	@$(ENDURE) backlog --lines $(BACKLOG_LINES) --letters $(BACKLOG_LETTERS)
# Real release daemons on loopback; rsyslog is left out where it is not installed.
bench-path: setup
	$(CARGO) build --release -p canh-log-agent -p canh-collector
	@test-corpus/bench-path/run

# On the stable compiler, so without a sanitizer: those are for nightly only.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(patsubst test-corpus/fuzz/fuzz_targets/%.rs,%,$(wildcard test-corpus/fuzz/fuzz_targets/*.rs))
fuzz: setup
	@command -v cargo-fuzz >/dev/null || { echo "fuzz: cargo-fuzz is not installed (cargo install cargo-fuzz)"; exit 1; }
	@CARGO="$(CARGO)" test-corpus/fuzz/run $(FUZZ_SECONDS) $(FUZZ_TARGETS)

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
