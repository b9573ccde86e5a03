# Everything a maintainer does has a target here; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

MODULE  := github.com/tekton-sign/kubectl-tekton-sign
VERSION ?= v0.0.0-dev
LDFLAGS := -s -w -X $(MODULE)/pkg/version.release=$(VERSION)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
REGISTRY ?= ghcr.io/tekton-sign

# Where make build leaves the binaries.
BIN ?= bin
# Every fuzz target runs this long.
FUZZTIME ?= 10m
# Tools are built from their own pinned modules under tools/.
TOOLS := bin/tools

LAB := bin/lab
# Points what follows in the same recipe line at the lab.
IN_LAB = eval "$$($(LAB) env)";

.PHONY: help build test test-unit test-e2e test-nightly fuzz lint bench demo demo-offline examples lab-up lab-load lab-down generate docs release-snapshot clean FORCE

help: ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

build: ## Build the plugin, the signer and the add-on into bin/.
	$(GOBUILD) -o $(BIN)/kubectl-tekton_sign ./cmd/kubectl-tekton-sign
	ln -sf kubectl-tekton_sign $(BIN)/tkn-sign
	$(GOBUILD) -o $(BIN)/signer ./cmd/signer
	$(GOBUILD) -o $(BIN)/controller ./cmd/controller

test: lint test-unit test-e2e ## Everything CI runs: lint, unit tests, end-to-end tests in the lab.

test-unit: ## Unit tests, with the race detector.
	go test -race -timeout 30m ./...
	cd test/tekton && go test ./... # Tekton's own functions, in a module of its own: they link much that nothing else needs
	go test -timeout 30m ./test/corpus ./internal/tekton/merge ./cmd/controller/internal/serve # not with the race detector, which takes many times as much time and memory
	go test -short -run '^$$' -bench . -benchtime 1x ./test/bench # the benchmarks still work

test-e2e: build lab-up lab-load ## End-to-end tests in the lab.
	$(IN_LAB) go test -tags e2e -count=1 -timeout 50m ./test/e2e/...
	go test -tags e2e -count=1 -timeout 40m ./test/lab/... # builds SPIRE the first time

test-nightly: build lab-up lab-load ## The long suites.
	$(IN_LAB) go test -tags 'e2e nightly' -count=1 -timeout 170m ./test/...

fuzz: ## Run every fuzz target for FUZZTIME.
	hack/fuzz.sh $(FUZZTIME)

lint: $(TOOLS)/golangci-lint ## gofmt, go vet and golangci-lint.
	@test -z "$$(git ls-files '*.go' | xargs gofmt -l | tee /dev/stderr)"
	go vet -tags 'e2e nightly' ./...
	$(TOOLS)/golangci-lint run --build-tags e2e,nightly

bench: build lab-up lab-load ## Benchmarks; docs/performance.md explains the figures.
	go test -run '^$$' -bench . -benchmem -timeout 30m ./...
	$(IN_LAB) go test -tags e2e -run '^$$' -bench 'TokenReview|AddOn|Startup' -timeout 30m ./test/bench

demo: demo-offline build $(LAB) ## The whole story on a real cluster: enable, run, verify, tamper, disable.
	hack/demo.sh

demo-offline: ## The verifying half of the story, on a recorded TaskRun.
	$(GOBUILD) -o $(BIN)/kubectl-tekton_sign ./cmd/kubectl-tekton-sign
	hack/demo-offline.sh

examples: build lab-up lab-load ## Record docs/examples from the lab.
	hack/record-examples.sh

$(LAB): FORCE
	@go build -o $(LAB) ./test/lab/cmd/lab

lab-up: $(LAB) ## Start a real one-node Kubernetes with stock Tekton on this machine.
	$(LAB) up

lab-load: build $(LAB) ## Import the local builds of signer and add-on into the lab under their release names.
	$(LAB) load $(REGISTRY)/signer:$(VERSION) --file bin/signer=/ko-app/signer --entrypoint /ko-app/signer --user 65532
	$(LAB) load $(REGISTRY)/controller:$(VERSION) --file bin/controller=/ko-app/controller --entrypoint /ko-app/controller --user 65532

lab-down: $(LAB) ## Stop the lab and leave nothing behind.
	$(LAB) down

generate: docs ## Everything that is generated.

docs: ## Generate the command reference, the schema of the report and the picture of the README.
	go run ./hack/gendocs docs

release-snapshot: $(TOOLS)/goreleaser $(TOOLS)/cyclonedx-gomod $(TOOLS)/images ## Build archives, krew manifest and images into dist/ without publishing.
	$(TOOLS)/goreleaser release --snapshot --clean
	$(TOOLS)/images --out dist/images --version $$(git describe --tags --abbrev=0 2>/dev/null || echo v0.0.0)

clean: ## Remove what was built.
	rm -rf bin dist

# This one has its program in its own folder, for it uses ko as a library.
$(TOOLS)/images: tools/images/go.mod tools/images/go.sum tools/images/main.go
	@mkdir -p $(TOOLS)
	cd tools/images && go build -o $(CURDIR)/$@ .

$(TOOLS)/%: tools/%/go.mod tools/%/go.sum
	@mkdir -p $(TOOLS)
	cd tools/$* && go build -o $(CURDIR)/$@ tool
