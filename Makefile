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
# in `make race-all`.
RACE := ./backend/local ./backend/mem ./repo/... ./snapshot/... ./cmd/...

# Other systems that must keep compiling: everything that does not stand on what
# works on Linux alone so far.
CROSS := darwin/arm64 windows/amd64
LINUX_ONLY := vault/snapshot/archive

# $(call timed,name,command) runs the command and prints how long it took.
timed = @s=$$(date +%s); { $(2); } || { echo "== $(1): FAILED" >&2; exit 1; }; \
	echo "== $(1): $$(($$(date +%s) - s)) s"

.PHONY: help run build test packages fmt vet cross race race-all unit lint fuzz model sim sim-long golden bench bench-peers clean torture
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## do the main job on an embedded repository: back up SRC=/any/path twice, restore, compare, check
	@.ci/demo $(BUILD)/vault "$(SRC)" $(BUILD)/demo

build: ## compile build/vault
	@mkdir -p $(BUILD)
	@$(GO) build -ldflags "-X main.version=$(VERSION)" -o $(BUILD)/vault ./cmd/vault

test: packages fmt vet cross race unit ## everything that CI runs

packages: ## install the Debian packages that tests need, or name them
	$(call timed,packages,.ci/packages)

fmt: ## gofmt, as a check
	$(call timed,gofmt,files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
		test -z "$$files" || { echo "run gofmt -w on:"; echo "$$files"; false; })

vet: ## go vet
	$(call timed,vet,$(GO) vet ./...)

cross: ## compile for other systems
	$(call timed,cross,CGO_ENABLED=0 GOARCH=arm64 $(GO) build ./... || exit 1; \
		for t in $(CROSS); do CGO_ENABLED=0 GOOS=$${t%/*} GOARCH=$${t#*/} \
			$(GO) build $$($(GO) list -f '{{.ImportPath}} {{join .Deps " "}}' ./... | grep -vwF $(LINUX_ONLY) | cut -d ' ' -f 1) || exit 1; done)

race: ## tests of the concurrent packages, with the race detector; campaigns are left to unit
	$(call timed,race,CGO_ENABLED=1 .ci/in-memory $(GO) test -race -short -timeout 8m $(RACE))

race-all: ## every test with the race detector, campaigns included; takes long
	CGO_ENABLED=1 $(GO) test -race -timeout 60m ./...

unit: ## all tests, without the race detector; 20,000 simulated schedules among them
	$(call timed,unit,SIM_N=$${SIM_N:-20000} SIM_MINUTES=15 $(GO) test -timeout 30m ./...)

lint: fmt vet ## gofmt and go vet

fuzz: ## every fuzz target for FUZZTIME=30s each
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p; \
		done; done

model: ## search the abstract commit protocol at larger bounds
	$(GO) test -v -count=1 -timeout 60m -parallel 2 ./internal/sim/model -model.large

sim: ## simulate the real engine under faults; SEED=n replays one schedule
	$(if $(SEED),SIM_SEED=$(SEED)) $(GO) test -v -count=1 -timeout 30m $(if $(SEED),-run '^TestSeed$$') ./internal/sim

sim-long: ## a million schedules
	SIM_N=1000000 SIM_MINUTES=100000 $(GO) test -v -count=1 -timeout 0 ./internal/sim

golden: ## write the golden outputs of tests anew; read the diff before you commit it
	@UPDATE_GOLDEN=1 $(GO) test -count=1 ./...

bench: ## benchmarks of the hot paths
	@$(GO) test -run '^$$' -bench . -benchmem ./...

bench-peers: build ## compare with the restic, borg and kopia on the path (or RESTIC=path): SCALE=1 ROUNDS=3 into docs/benchmarks.md
	@$(GO) run ./bench/peers -vault $(BUILD)/vault -scale $(SCALE) -rounds $(ROUNDS) -out docs

torture: ## kill processes of the real program KILLS=5000 times, TORTURE_SEED=n repeats the choices
	@TORTURE_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 24h ./internal/torture

clean: ## remove what the targets above made
	@rm -rf $(BUILD)
