# syntax=docker/dockerfile:1

# Two images from one build:
#   docker build -t product-service .                       the server (the default target)
#   docker build -t inventory-simulator --target simulator .  the simulated Inventory Service, for docker-compose.yml
#
# Both are a static binary on an empty file system with the certificate authorities: no shell, no package manager, no root.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags="-s -w" -o /out/server/product-service . && \
    go build -trimpath -ldflags="-s -w" -o /out/server/healthcheck ./dev/healthcheck && \
    go build -trimpath -ldflags="-s -w" -o /out/simulator/simulate ./dev/simulate && \
    cp /out/server/healthcheck /out/simulator/ && \
    mkdir -p /out/simulator/data && chown 65532:65532 /out/simulator/data

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER 65532:65532

FROM base AS simulator
COPY --from=build --chown=65532:65532 /out/simulator/ /
ENV DIR=/data
VOLUME /data
EXPOSE 8090
# There is no shell and no wget in here: a small static program asks instead.
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=3 CMD ["/healthcheck", "http://127.0.0.1:8090/sim/stats"]
ENTRYPOINT ["/simulate"]

FROM base AS server
COPY --from=build /out/server/ /
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=3 CMD ["/healthcheck", "http://127.0.0.1:8080/readyz"]
ENTRYPOINT ["/product-service"]
CMD ["serve"]
