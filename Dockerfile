# Builds the binary, then leaves everything but the binary behind.
FROM rust:1.94-bookworm AS build
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked && cp target/release/cupping /usr/local/bin/cupping

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --create-home --home-dir /data cupping
COPY --from=build /usr/local/bin/cupping /usr/local/bin/cupping
USER cupping
WORKDIR /data
VOLUME /data
ENV CUPPING__DATA__DIR=/data CUPPING__ADMIN__LISTEN=0.0.0.0:9464 CUPPING__LOG__FORMAT=json
EXPOSE 9464
# Ready means: index loaded, database and queue reachable. The shell asks; no curl is needed.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["bash", "-c", \
  "exec 3<>/dev/tcp/127.0.0.1/9464 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
# The binary is process 1: it handles SIGTERM itself, drains, and exits 0.
ENTRYPOINT ["cupping"]
CMD ["run"]
