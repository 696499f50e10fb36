# docker build -f dev/docker/operator.Dockerfile -t streamkeeper:dev .
# The same image as `python3 -m dev.images operator` makes without an engine: one static binary.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/target \
    cargo build --release --locked --workspace --bin streamkeeper --target-dir /target \
    && cp "/target/x86_64-unknown-linux-gnu/release/streamkeeper" /streamkeeper

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /streamkeeper /streamkeeper
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/streamkeeper"]
