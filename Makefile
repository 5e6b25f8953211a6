# bootlun: machines boot from an iSCSI LUN as simply as from a disk.
.DEFAULT_GOAL := help
export CGO_ENABLED ?= 0
GO ?= go

ROOT ?= tiny
TABLE ?= dhcp
KERNEL ?=
MODULES ?=
ONESHOT ?=

# Says at the end which tests were skipped, and why. The race detector needs cgo.
TEST = CGO_ENABLED=1 $(GO) tool gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg

.PHONY: help boot test test-xen test-survival test-installations test-int13h test-lio test-short check conformance fuzz bench bench-go bench-kernel bench-boot deps clean

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make boot takes ROOT=tiny|debian|dracut|FILE.img, TABLE=dhcp|firmware, KERNEL=vmlinuz MODULES=lib/modules/VERSION, ONESHOT=1"

boot: bin/bootlun ## Boot a virtual machine from an iSCSI LUN and show its console and timeline
	@scripts/deps.sh boot $(if $(filter debian dracut,$(ROOT)),debian)
	@bin/bootlun vm run --root '$(ROOT)' --table '$(TABLE)' \
		$(if $(KERNEL),--kernel '$(KERNEL)' --modules '$(MODULES)') $(if $(ONESHOT),--oneshot)

# On a machine whose other tenants take its processors away, what a guest does in
# time is luck: a few failed tests are run once more, and said to have been.
AGAIN = --rerun-fails=1 --rerun-fails-max-failures=5 --rerun-fails-abort-on-data-race --rerun-fails-report build/failed-at-first.txt

test: ## Run every test: race detector, fuzz seeds, real peers, boot scenarios
	@scripts/deps.sh boot debian test
	@rm -f build/failed-at-first.txt
	@$(TEST) $(AGAIN) --packages ./... -- -race -timeout 60m; status=$$?; \
		if [ -s build/failed-at-first.txt ]; then echo "Failed at first:"; cat build/failed-at-first.txt; fi; exit $$status
	@$(GO) test -run 'SteadyState|Alloc' ./iscsi ./initiator ./target # the race detector falsifies these

test-xen: ## Boot Xen in an emulated PC, and a guest of it by a table of ours (some minutes)
	@scripts/deps.sh boot debian
	@BOOTLUN_TEST_XEN=1 $(GO) test -count=1 -timeout 30m -run TestXenGuest ./qemu/scenario

test-survival: ## Do everything known to a root disk's target, link, paths and network managers (two hours)
	@scripts/deps.sh boot debian test
	@BOOTLUN_TEST_SURVIVAL=1 BOOTLUN_SURVIVAL_RESTARTS=20 BOOTLUN_SURVIVAL_CUTS="5s 60s 300s" BOOTLUN_SURVIVAL_ENDS=10 \
		$(GO) test -count=1 -timeout 4h -run TestSurviv ./qemu/scenario

test-installations: ## Install Debian in all the ways of docs/own-kernel.md, boot each by its own kernel, write the table (an hour)
	@scripts/deps.sh boot debian test
	@BOOTLUN_TEST_INSTALLATIONS=1 $(GO) test -count=1 -timeout 4h -run 'TestInstallations|TestOwnKernel|TestBootDistribution' ./qemu/scenario -update

test-int13h: ## Run real boot loaders in our interpreter, on this machine and in an emulated one (an hour, most of it to install systems)
	@scripts/deps.sh boot debian test
	@BOOTLUN_TEST_INT13H=1 $(GO) test -count=1 -timeout 30m ./bootloader/int13h/...
	@BOOTLUN_TEST_INT13H=1 $(GO) test -count=1 -timeout 120m -run TestBootSector ./internal/pair ./qemu/scenario

test-lio: ## Have LIO, the target in Linux, serve our initiator from an emulated machine (some minutes)
	@scripts/deps.sh boot debian test
	@BOOTLUN_TEST_LIO=1 $(GO) test -count=1 -timeout 30m -run 'TestLIO|TestKernelSessions' ./qemu/scenario

test-short: ## Run the tests that need no virtual machine
	@$(TEST) -- -race -short ./...

check: ## Vet, staticcheck and gofumpt
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@files=$$($(GO) tool gofumpt -l $$(git ls-files '*.go')); \
		if [ -n "$$files" ]; then echo "gofumpt -w wants to change:"; echo "$$files"; exit 1; fi

conformance: ## Run libiscsi's suite against our target and tgt, and write docs/conformance.md
	@scripts/deps.sh test
	$(GO) test -count 1 -timeout 30m -run TestSuite ./internal/conformance -update

FUZZTIME ?= 20s
fuzz: ## Run each fuzz target for FUZZTIME (20s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$file); do \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
		done; \
	done

BENCHFLAGS ?=
bench: ## Time our target and initiator beside tgt, istgt and libiscsi, in turn on one machine
	@scripts/deps.sh test
	$(GO) run ./internal/bench $(BENCHFLAGS) target
	$(GO) run ./internal/bench $(BENCHFLAGS) initiator

bench-go: ## Run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-kernel: ## Time a session of a guest's kernel against bare TCP between the same two
	@scripts/deps.sh boot
	$(GO) run ./internal/bench --awake=false --time 3s $(BENCHFLAGS) kernel

bench-boot: bin/bootlun ## Time our boot path against iPXE sanboot, GRUB and open-iscsi, in turn on one LUN
	@scripts/deps.sh boot debian
	@bin/bootlun vm bench

deps: ## Install every Debian package that the targets above need
	@scripts/deps.sh boot debian test

bin/bootlun: FORCE
	@$(GO) build -trimpath -o bin/ ./cmd/bootlun ./cmd/ibft ./cmd/iscsi

clean: ## Remove what was built (build/ holds the kernel and root images)
	rm -rf bin build

FORCE:
