# One image with the programs /controller, /verifier and /console, and next to nothing else. A Deployment's command says which it
# runs.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.2.3 .   from source
#   make image                                                                           programs that are built already, on
#                                                                                        nothing: needs no registry
#
# Both bases are pinned by the digest of an index of platforms, and replaceable: by a mirror's, or, for BASE_IMAGE, by scratch.
# GO_IMAGE has to have make and Go, at least what go.mod asks for. BASE_IMAGE brings the certificates of public authorities,
# which only a trace collector with such a certificate needs: the cluster's own come with the service account.
ARG GO_IMAGE=docker.io/library/golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
ARG BASE_IMAGE=gcr.io/distroless/static-debian13:nonroot@sha256:e2e927ec666bae08560abb3c55d0659eceabb657f56b6782ab500a9fc7f555e3

# First, so that no builder looks at the bases on the way to it. The context is a folder with OS/ARCH/apikey-….
FROM scratch AS prebuilt
ARG TARGETOS
ARG TARGETARCH
COPY ${TARGETOS}/${TARGETARCH}/apikey-controller /controller
COPY ${TARGETOS}/${TARGETARCH}/apikey-verifier /verifier
COPY ${TARGETOS}/${TARGETARCH}/apikey-console /console
# A number, because the kubelet can't tell whether a name is root's.
USER 65532:65532

# Compiles for every platform on the builder's own, without emulation.
FROM --platform=${BUILDPLATFORM} ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY Makefile ./
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY internal internal
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=unknown
RUN GOOS=${TARGETOS} GOARCH=${TARGETARCH} make build VERSION=${VERSION}

FROM ${BASE_IMAGE}
COPY --from=build /src/bin/apikey-controller /controller
COPY --from=build /src/bin/apikey-verifier /verifier
COPY --from=build /src/bin/apikey-console /console
USER 65532:65532
