# `make` alone lists the targets. `make run` and `make test` do all their set-up.

GO      ?= go
SRC     ?= $(shell $(GO) env GOROOT)/src
FUZZTIME ?= 30s
KILLS   ?= 5000
SCALE   ?= 1
ROUNDS  ?= 3
BUILD   := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# Packages that work with several goroutines: tested with the race detector. The
# drivers of distant stores spend their time waiting for real servers; they are
# in `make race-all`, and so is the program, but for the scripts that have several at once.
RACE := ./backend/local ./backend/mem ./repo/... ./snapshot/... ./internal/save ./internal/worklist
RACE_SCRIPTS := TestScripts/^(interrupt|prune|restore|run|together)$$$$

# Other systems that must keep compiling: the program and the engine. What only
# tests and benchmarks use may stand on Linux.
CROSS := darwin/arm64 windows/amd64
PROGRAM := ./cmd/... ./backend/... ./repo/... ./snapshot/... ./index ./pack ./chunk ./crypto

# What runs on an emulated arm64: the packages whose code or speed depends on the
# machine, and of their tests those that would tell.
ARM64 := ./internal/wire ./internal/cache ./internal/sys ./chunk ./crypto ./pack ./index ./snapshot ./repo
ARM64_RUN := Vectors|Kernel|(Body|Commit)RoundTrip|SegmentAgainstModel|Bytes$$|Nonces|PaddedSize|SlotPassphrase|SwappedSegments|SizesHide|ReferenceRepository|BackupAndRestore|DedupAcross
QEMU_ARM64 ?= qemu-aarch64-static

# What runs on an emulated amd64 that has VAES, of the tests of the splitter, and
# the kernels that must be there.
VAES_RUN := Vectors|Kernel|FuzzSplit|AfterZeros
VAES_KERNELS := vaes-256,aes-ni

# Every decoder of stored bytes, as package:target.
DECODERS := internal/wire:FuzzReader \
	crypto:FuzzParseSlot crypto:FuzzSlotPayload crypto:FuzzParseConfigHead crypto:FuzzOpenObject crypto:FuzzOpenEnvelope crypto:FuzzSessionID \
	pack:FuzzReadDirectory pack:FuzzDecodeDirectory pack:FuzzDecode index:FuzzSegment \
	snapshot:FuzzPage snapshot:FuzzBody snapshot:FuzzCommit snapshot/restore:FuzzRestore \
	repo:FuzzParams repo:FuzzSession repo:FuzzEvent repo:FuzzPlan repo:FuzzDone repo:FuzzObjectNames repo:FuzzImport \
	internal/calendar:FuzzParse repo/repair:FuzzParseNote repo/inspect:FuzzObject internal/cache:FuzzFiles


# $(call timed,name,command) runs the command and prints how long it took.
timed = @s=$$(date +%s); { $(2); } || { echo "== $(1): FAILED" >&2; exit 1; }; \
	echo "== $(1): $$(($$(date +%s) - s)) s"

.PHONY: help run build test packages fmt vet cross arm64 vaes race race-all unit lint fuzz fuzz-decoders model sim sim-long e2e golden bench bench-packages bench-peers bench-large pgo clean torture
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## do the main job on an embedded repository: back up SRC=/any/path twice, restore, compare, check
	@.ci/demo $(BUILD)/vault "$(SRC)" $(BUILD)/demo

build: ## compile build/vault
	@mkdir -p $(BUILD)
	@$(GO) build -ldflags "-X main.version=$(VERSION)" -o $(BUILD)/vault ./cmd/vault

test: packages fmt vet cross arm64 vaes race unit ## everything that CI runs

packages: ## install the Debian packages that tests need, or name them
	$(call timed,packages,.ci/packages)

fmt: ## gofmt, as a check
	$(call timed,gofmt,files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		test -z "$$files" || { echo "run gofmt -w on:"; echo "$$files"; false; })

vet: ## go vet
	$(call timed,vet,$(GO) vet ./...)

cross: ## compile for other systems
	$(call timed,cross,CGO_ENABLED=0 GOARCH=arm64 $(GO) build ./... || exit 1; for t in $(CROSS); do \
		CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build $(PROGRAM) || exit 1; done)

arm64: ## tests of formats and kernels on an emulated arm64
	$(call timed,arm64,if command -v $(QEMU_ARM64) >/dev/null; then CGO_ENABLED=0 GOARCH=arm64 SPLITTER_KERNELS=aes-arm64 \
		$(GO) test -short -timeout 10m -exec $(QEMU_ARM64) -run '$(ARM64_RUN)' $(ARM64); \
		else echo "no $(QEMU_ARM64): skipped"; test "$$CI" != true; fi)

vaes: ## tests of the splitter on an emulated amd64 that has VAES
	$(call timed,vaes,if qemu=$$(.ci/qemu-vaes); then CGO_ENABLED=0 GOARCH=amd64 SPLITTER_KERNELS=$(VAES_KERNELS) \
		$(GO) test -short -timeout 10m -exec "$$qemu -cpu max" -run '$(VAES_RUN)' ./chunk; \
		else echo "no qemu with VAES: skipped"; test "$$CI" != true; fi)

race: ## tests of the concurrent packages, with the race detector; campaigns are left to unit
	$(call timed,race,CGO_ENABLED=1 .ci/in-memory $(GO) test -race -short -timeout 30m $(RACE) && \
		CGO_ENABLED=1 .ci/in-memory $(GO) test -race -short -timeout 30m -run '$(RACE_SCRIPTS)' ./cmd/vault)

race-all: ## every test with the race detector, campaigns included; takes long
	CGO_ENABLED=1 $(GO) test -race -timeout 60m ./...

unit: ## all tests, without the race detector; 20,000 simulated schedules among them
	$(call timed,unit,SIM_N=$${SIM_N:-20000} SIM_MINUTES=15 $(GO) test -timeout 60m ./...)

lint: fmt vet ## gofmt and go vet

fuzz: ## every fuzz target for FUZZTIME=30s each
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
		done; done

fuzz-decoders: ## the decoders of stored bytes for FUZZTIME=30s each; goes on after a finding
	@bad=; for d in $(DECODERS); do echo "== $$d"; \
		$(GO) test -run '^$$' -fuzz "^$${d#*:}\$$" -fuzztime $(FUZZTIME) ./$${d%:*} || bad="$$bad $$d"; done; \
	test -z "$$bad" || { echo "findings:$$bad" >&2; exit 1; }; echo "$(words $(DECODERS)) decoders, $(FUZZTIME) each: no finding"

model: ## search the abstract commit protocol at larger bounds
	$(GO) test -v -count=1 -timeout 200m -parallel 2 ./internal/sim/model -model.large

sim: ## simulate the real engine under faults; SEED=n replays one schedule
	$(if $(SEED),SIM_SEED=$(SEED)) $(GO) test -v -count=1 -timeout 30m $(if $(SEED),-run '^TestSeed$$') ./internal/sim

sim-long: ## a million schedules
	SIM_N=1000000 SIM_MINUTES=100000 $(GO) test -v -count=1 -timeout 0 ./internal/sim

e2e: ## applications from backup to restore on another host, by themselves; they are part of test
	$(GO) test -count=1 -v -timeout 30m ./internal/app/e2e

golden: ## write the golden outputs of tests anew; read the diff before you commit it
	@UPDATE_GOLDEN=1 $(GO) test -count=1 ./...

bench: ## one table of every stage and of whole backups, with their fraction of the limit
	@mkdir -p $(BUILD) && BENCH_TABLE=$(abspath $(BUILD))/bench.txt $(GO) test -count=1 -timeout 60m -run '^TestTable$$' -benchtime 0.3s ./bench && cat $(BUILD)/bench.txt

bench-packages: ## the benchmarks beside all packages, each for 0.2 s
	@$(GO) test -run '^$$' -bench . -benchtime 0.2s -timeout 60m $$($(GO) list ./... | grep -v '/bench')

pgo: ## build/vault compiled for what a profile of backups, restores and checks shows as hot; takes long
	@mkdir -p $(BUILD) && $(GO) test -count=1 -timeout 60m -run '^$$' -bench 'FirstBackup|UnchangedBackup|Restore' -benchtime 3s \
		-cpuprofile $(abspath $(BUILD))/vault.pgo -o $(BUILD)/bench.test ./bench
	@$(GO) build -pgo=$(abspath $(BUILD))/vault.pgo -ldflags "-X main.version=$(VERSION)" -o $(BUILD)/vault ./cmd/vault

bench-peers: build ## compare with the restic, borg and kopia on the path (or RESTIC=path): SCALE=1 ROUNDS=3 into docs/benchmarks.md
	@$(GO) run ./bench/peers -vault $(BUILD)/vault -scale $(SCALE) -rounds $(ROUNDS) -out docs

bench-large: ## a directory of a million entries and a sparse file of a terabyte: times and peak memory of the real program
	@LARGE_ENTRIES=$${LARGE_ENTRIES:-1000000} $(GO) test -count=1 -v -timeout 2h -run '^TestLarge' ./bench

torture: ## kill processes of the real program KILLS=5000 times, TORTURE_SEED=n repeats the choices
	@TORTURE_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 24h ./internal/torture

clean: ## remove what the targets above made
	@rm -rf $(BUILD)
