# otel-bridge as an image: docker build -t otel-bridge:local .
#
# The base is the Python that the tests run on. Another one: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm
# With PostgreSQL's client, for several replicas (16 MB more): --build-arg EXTRAS=postgres
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ── build: a virtual environment without pip, at the path where the final stage has it ───────────────────
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv --without-pip /opt/otel-bridge

# What is installed changes less often than the code, so it is a layer of its own.
ARG EXTRAS=
COPY pyproject.toml constraints.txt deploy/docker/requirements.py ./
RUN python requirements.py pyproject.toml ${EXTRAS} > requirements.txt \
 && pip --python /opt/otel-bridge/bin/python install --quiet --no-compile -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY otel_bridge ./otel_bridge
COPY deploy/docker ./docker
# Bytecode for what the program imports, and not for the two thirds that it never does: a third of the size.
RUN pip --python /opt/otel-bridge/bin/python install --quiet --no-compile --no-deps . \
 && cp docker/healthcheck.py docker/service.sh /opt/otel-bridge/lib/ \
 && cd / && /opt/otel-bridge/bin/python /source/docker/import_all.py \
 && mkdir -p /state/otel-bridge

# ── final: that environment and nothing to build with ────────────────────────────────────────────────────
FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="otel-bridge" \
      org.opencontainers.image.description="Composio's tool calls as OpenTelemetry spans and log records, delivered over OTLP." \
      org.opencontainers.image.source="https://github.com/otel-bridge/otel-bridge" \
      org.opencontainers.image.documentation="https://github.com/otel-bridge/otel-bridge/blob/main/README.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"

# The base brings pip; whoever gets into the container should not find it.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
           /usr/local/lib/python3*/site-packages/wheel* /usr/local/bin/pip* /usr/local/bin/wheel \
           /usr/lib/python3/dist-packages/pip* /usr/bin/pip*
COPY --from=build /opt/otel-bridge /opt/otel-bridge
# The only folder that is written to; a new named volume takes over its owner.
COPY --from=build --chown=10001:10001 /state/otel-bridge /var/lib/otel-bridge
ENV PATH=/opt/otel-bridge/bin:$PATH \
    HOME=/var/lib/otel-bridge \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OTEL_BRIDGE_STATE=sqlite:////var/lib/otel-bridge/ledger.db \
    OTEL_BRIDGE_LISTEN=0.0.0.0:8790
WORKDIR /var/lib/otel-bridge
VOLUME /var/lib/otel-bridge
EXPOSE 8790
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/opt/otel-bridge/bin/python", "-IS", "/opt/otel-bridge/lib/healthcheck.py"]
ENTRYPOINT ["otel-bridge"]
CMD ["run"]
