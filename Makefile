# Only Go, git, make and a POSIX shell are required. The control plane, the proxy and kubectl are downloaded where
# hack/tools/fetch has a checksum of them, or built, as every tool is, from Go modules that hack/*/*/go.mod pin. Tests that need more are
# skipped if it is missing. Except for KUBEBUILDER_ASSETS and KUBECONFIG nothing outside this folder is used, and downloads
# stay in bin/.

.DEFAULT_GOAL := help
.NOTPARALLEL: # The targets share the working tree, and go uses every core by itself.
MAKEFLAGS += --no-builtin-rules

TEST ?= ./...
TESTFLAGS ?=
RACE ?= auto
FUZZ ?= .
FUZZTIME ?= 20s
ARCHS ?= $(shell go env GOARCH)
IMAGE ?= apikey-operator:dev
OUT ?= bin
VERSION ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)

MODULE := github.com/nexuscommerce/apikey-operator
BIN := $(CURDIR)/bin
LDFLAGS = -s -w -X $(MODULE)/internal/version.version=$(VERSION)
LINT := bin/tools/golangci-lint
CRDS := config/crd/bases
RELEASED_CRDS := hack/tools/crdcompat/released
ACCEPTED_BREAKS := hack/tools/crdcompat/accepted.txt
GENERATED := ':(glob)api/**/zz_generated.*.go' $(CRDS) docs/kubectl-apikey.md

##@ Use

.PHONY: help
help: ## This list.
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nOne test: make test TEST=./controllers/... TESTFLAGS="-run TestName -v"\n'

# exec, so that a signal for make's shell reaches the demo, which ends what it has started. XDG_CACHE_HOME, because
# envtest keeps a file for every port that it has given out.
DEMO = exec env XDG_CACHE_HOME=$(BIN)/dev/cache KUBEBUILDER_ASSETS=$$assets BIN=$(BIN) bin/demo

# SETUP downloads other projects' programs if that is possible, and builds ours at the same time: hack/tools/fetch. The first
# time, our modules are downloaded while it is compiled itself.
SETUP = { [ -e bin/demo ] || go list -deps ./hack/demo ./cmd/controller ./cmd/verifier >/dev/null 2>&1 & } && $(FETCH) -ldflags '$(LDFLAGS)' -own demo=./hack/demo -own apikey-controller=./cmd/controller -own apikey-verifier=./cmd/verifier
FETCH = CGO_ENABLED=0 GOFLAGS= GOOS= GOARCH= $(SPEND) go build -trimpath -o bin/fetch ./hack/tools/fetch && bin/fetch
# Compilers take a third less time where they collect no garbage before they hold this much. hack/tools/fetch decides by itself.
SPEND = GOGC=off GOMEMLIMIT=512MiB
# PROXY is what stands in front of the API: caddy, envoy, traefik, nginx or haproxy. The last two are Debian packages.
PROXY ?= caddy
BROUGHT_PROXY = $(filter caddy envoy traefik,$(PROXY))
# If KUBEBUILDER_ASSETS names a control plane, none is downloaded or built.
PLANE = $(if $(KUBEBUILDER_ASSETS),,etcd kube-apiserver kubectl)

.PHONY: demo
demo: ## Mint a key, call an API with it through a real proxy, revoke it, see the 401; leaves nothing running. PROXY=envoy, traefik, nginx, haproxy or caddy.
	@$(SETUP) $(PLANE) $(BROUGHT_PROXY) && assets=$$(hack/tools/controlplane/ensure.sh etcd kube-apiserver kubectl) && $(DEMO) --proxy='$(PROXY)'

.PHONY: run
run: ## The demo's pieces in the foreground until interrupted; on the cluster that KUBECONFIG names, where it is set.
	@$(SETUP) -own apikey-console=./cmd/console -own kubectl-apikey=./cmd/kubectl-apikey \
		$(if $(KUBECONFIG),,$(PLANE) $(if $(PLANE),kube-controller-manager)) $(BROUGHT_PROXY) && \
	if [ -n "$${KUBECONFIG:-}" ]; then assets=$${KUBEBUILDER_ASSETS:-}; else assets=$$(hack/tools/controlplane/ensure.sh); fi && $(DEMO) --proxy='$(PROXY)' --keep

# IMAGE has a tag. A kustomization names its bases by relative paths, so it is created here and removed again.
.PHONY: dist
dist: helm ## dist/: install.yaml, crds.yaml and the Helm chart, checked by Helm; IMAGE=registry.example.com/apikey-operator:v1 VERSION=v1.
	@rm -rf dist && mkdir -p dist
	@kubectl=$$(hack/tools/controlplane/ensure.sh kubectl)/kubectl && image='$(IMAGE)' && \
		printf 'resources: [../config/default]\nimages: [{name: apikey-operator, newName: "%s", newTag: "%s"}]\n' \
			"$${image%:*}" "$${image##*:}" >dist/kustomization.yaml && \
		$$kubectl kustomize dist >dist/install.yaml && rm dist/kustomization.yaml && \
		$$kubectl kustomize config/crd >dist/crds.yaml && \
		go run ./hack/tools/chart --kubectl $$kubectl --version '$(VERSION)' --image "$$image" --out dist/chart/apikey-operator
	@bin/tools/helm lint --strict dist/chart/apikey-operator
	@bin/tools/helm package --destination dist dist/chart/apikey-operator

##@ Develop

.PHONY: build
build: ## bin/apikey-controller, bin/apikey-verifier, bin/apikey-console and bin/kubectl-apikey.
	@mkdir -p $(OUT)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(OUT)/apikey-controller ./cmd/controller
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(OUT)/apikey-verifier ./cmd/verifier
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(OUT)/apikey-console ./cmd/console
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(OUT)/kubectl-apikey ./cmd/kubectl-apikey

PLUGIN_PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64
KREW_URL ?= https://github.com/nexuscommerce/apikey-operator/releases/download/$(VERSION)

.PHONY: krew
krew: ## dist/krew: kubectl-apikey for PLUGIN_PLATFORMS, and the manifest that krew installs it by.
	@hack/krew.sh dist/krew '$(VERSION)' '$(KREW_URL)' '-s -w $(LDFLAGS)' $(PLUGIN_PLATFORMS)

# One platform makes a Docker archive, several make an OCI archive.
.PHONY: image
image: ## bin/image.tar with the three programs, without a registry; ARCHS="amd64 arm64" for more than this machine's platform.
	@for arch in $(ARCHS); do \
		GOOS=linux GOARCH=$$arch $(MAKE) --no-print-directory build OUT=bin/image/linux/$$arch || exit; \
	done
	@hack/image.sh $(IMAGE) bin/image.tar Dockerfile prebuilt bin/image $(ARCHS)
	@echo "bin/image.tar: $(IMAGE)"

# The test runner prints what tests need, brings what it can, and runs the tests. TEST selects packages, TESTFLAGS are flags of
# go test. RACE is auto, -race for every package or blank for none. With REQUIRE_ALL=1 a test that lacks something fails.
RUN_TESTS = @mkdir -p bin && $(SPEND) go build -buildvcs=false -o bin/test ./hack/tools/testrunner && \
	exec env FUZZTIME='$(FUZZTIME)' bin/test -race='$(RACE)' -mode

.PHONY: test-quick
test-quick: ## Unit tests and one short pass over a real control plane, in under 3 minutes.
	$(RUN_TESTS) quick $(TEST) -- $(TESTFLAGS)

.PHONY: test
test: ## Every suite, on a real control plane; those that repeat or explore do less of it.
	$(RUN_TESTS) normal $(TEST) -- $(TESTFLAGS)

.PHONY: test-all
test-all: ## Everything in full: every explored point, the race detector, fuzzing, the settings page in Chromium.
	$(RUN_TESTS) full $(TEST) -- $(TESTFLAGS)

.PHONY: test-nightly
test-nightly: ## An upgrade from the last release and back; attacks by way of Contour and Envoy Gateway, and questions to them, which take a quarter of an hour to compile.
	$(RUN_TESTS) nightly $(TEST) -- $(TESTFLAGS)

# The version of Go's FIPS 140-3 module that is validated or in process of it; see docs/install.md.
FIPS ?= v1.0.0

.PHONY: test-fips
test-fips: ## The programs built with Go's FIPS 140-3 module, with nothing allowed that is not approved: tokens, decisions, the life of a key.
	@GOFIPS140=$(FIPS) $(MAKE) --no-print-directory build OUT=bin/fips
	GOFIPS140=$(FIPS) CGO_ENABLED=0 go test -trimpath -count=1 -exec 'env GODEBUG=fips140=only' \
		./internal/token ./internal/verify ./cmd/controller ./cmd/verifier
	assets=$$(hack/tools/controlplane/ensure.sh) && XDG_CACHE_HOME=$(BIN)/dev/cache KUBEBUILDER_ASSETS=$$assets APIKEY_PROGRAMS=$(BIN)/fips \
		CGO_ENABLED=0 go test -trimpath -count=1 -run '^TestFIPS$$' ./internal/test/suites/system

# The suites that are modules of their own, because they link other projects' code: Argo CD and Flux, proxies, Prometheus, Helm, a
# browser's protocol.
SUITES := $(addprefix hack/suites/,gitops guides monitoring helm browser)

.PHONY: guides-table
guides-table: ## Ask every proxy, and write what it does into docs/guides/README.md; Contour and Envoy Gateway where they have been built.
	$(RUN_TESTS) normal ./internal/test/suites/conformance/... -- -run TestConformance
guides-table: export WRITE_GUIDES_TABLE = 1

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME=20s, as make test-all does at its end; FUZZ=Path for those with such a name.
	@hack/fuzz.sh '$(FUZZTIME)' '$(FUZZ)'

.PHONY: browser
browser: ## The settings page in Chromium (Debian: chromium), as in test-all, with screenshots in bin/screenshots.
	@rm -rf bin/screenshots
	$(RUN_TESTS) full ./hack/suites/browser/... -- $(TESTFLAGS)

.PHONY: e2e
e2e: caddy helm ## The operator on a real node: install, call, kill, rotate, upgrade, revoke, uninstall. Wants root, containerd and runc.
	@$(MAKE) --no-print-directory image ARCHS=$$(go env GOHOSTARCH) IMAGE=apikey-operator:dev
	@exec hack/suites/e2e/run.sh $(E2E)

.PHONY: bench
bench: build ## The benchmarks, as ratios, with goals; also bin/bench.json. BENCH=<name> runs one. Error 1: a goal is missed; 2: something was left out; 3: both.
	@go build -o bin/bench ./hack/bench
	@assets=$$(hack/tools/controlplane/ensure.sh) && \
		exec env XDG_CACHE_HOME=$(BIN)/dev/cache KUBEBUILDER_ASSETS=$$assets BIN=$(BIN) BENCH=$(BENCH) bin/bench

.PHONY: bench-plot
bench-plot: build ## What verifiers and controller take of 10 to 100,000 keys, measured and drawn: docs/scale.json, docs/scale.svg.
	@go build -o bin/bench ./hack/bench
	@assets=$$(hack/tools/controlplane/ensure.sh) && \
		exec env XDG_CACHE_HOME=$(BIN)/dev/cache KUBEBUILDER_ASSETS=$$assets BIN=$(BIN) bin/bench plot docs/scale.json docs/scale.svg

.PHONY: verify
verify: lint verify-generated verify-crds verify-tidy verify-vulnerabilities ## Lint, generated files up to date, CRDs compatible, modules tidy, known vulnerabilities.

.PHONY: lint
lint: tools-lint ## Go code and API conventions.
	$(LINT) run ./...
	@set -e; for module in $(SUITES) hack/tools/lint; do (set -x; cd $$module && $(CURDIR)/$(LINT) run ./...); done

.PHONY: fmt
fmt: tools-lint ## Format the Go code.
	$(LINT) fmt

.PHONY: generate
generate: ## Deep-copy methods, from the types in api/; docs/kubectl-apikey.md, from the commands' help.
	go tool controller-gen object:headerFile=hack/boilerplate.go.txt paths=./api/...
	@go test ./cmd/kubectl-apikey -run '^TestPage$$' -count=1 -update >/dev/null

.PHONY: manifests
manifests: ## CustomResourceDefinitions, from the types in api/. Roles are written by hand in config/rbac.
	go tool controller-gen crd paths=./api/... output:crd:artifacts:config=$(CRDS)

.PHONY: release-crds
release-crds: verify-crds ## Keep the CRDs as they are for later changes to be compared with: part of every release.
	@rm -f $(RELEASED_CRDS)/*.yaml && cp $(CRDS)/*.yaml $(RELEASED_CRDS)/
	@sed -i.bak '/^$$/q' $(ACCEPTED_BREAKS) && rm -f $(ACCEPTED_BREAKS).bak

.PHONY: tools
tools: tools-lint caddy ## What the other targets build when they first need it: linter, proxy, control plane.
	@hack/tools/controlplane/ensure.sh

.PHONY: clean
clean: ## Remove what was built; ALL=1 also the tools and the control plane, which take minutes to build again.
	rm -rf dist $(if $(ALL),bin,$(filter-out bin/k8s bin/tools,$(wildcard bin/*)))

.PHONY: tools-lint
tools-lint:
	@hack/go-build.sh hack/tools/lint . $(LINT)

.PHONY: caddy
caddy:
	@$(FETCH) caddy

.PHONY: envoy traefik
envoy traefik:
	@$(FETCH) $@

# The control planes that drive an Envoy: 4 and 7 minutes of compiling.
.PHONY: contour envoy-gateway
contour envoy-gateway:
	@$(FETCH) $@

.PHONY: promtool
promtool:
	@hack/go-build.sh hack/tools/promtool github.com/prometheus/prometheus/cmd/promtool bin/tools/promtool '-s -w' remove_all_sd

.PHONY: etcdutl
etcdutl:
	@hack/go-build.sh hack/tools/etcdutl go.etcd.io/etcd/etcdutl/v3 bin/tools/etcdutl

.PHONY: helm
helm:
	@version=$$(cd hack/suites/helm && go list -m -f '{{.Version}}' helm.sh/helm/v4) && \
		hack/go-build.sh hack/suites/helm helm.sh/helm/v4/cmd/helm bin/tools/helm "-s -w -X helm.sh/helm/v4/internal/version.version=$$version"

# axe-core is JavaScript, from the npm registry. The lock file has its digest.
.PHONY: axe
axe: bin/axe/node_modules
bin/axe/node_modules: hack/suites/browser/package.json hack/suites/browser/package-lock.json
	@mkdir -p bin/axe && cp $^ bin/axe/ && cd bin/axe && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules

# Removed first, so that the CRD of a removed kind does not stay.
.PHONY: verify-generated
verify-generated:
	@rm -f $(CRDS)/*.yaml
	@$(MAKE) --no-print-directory generate manifests
	@hack/verify-generated.sh $(GENERATED)

.PHONY: verify-crds
verify-crds:
	@go run ./hack/tools/crdcompat $(RELEASED_CRDS) $(CRDS) $(ACCEPTED_BREAKS)

.PHONY: verify-tidy
verify-tidy:
	@for mod in go.mod hack/*/*/go.mod; do \
		(cd "$$(dirname "$$mod")" && go mod tidy -diff) || { echo "$$mod: run go mod tidy" >&2; exit 1; }; \
	done
	@echo "modules: tidy"

.PHONY: verify-vulnerabilities
verify-vulnerabilities:
	@hack/verify-vulnerabilities.sh
