# otel-bridge as an image: docker build -t otel-bridge:local .
#
# The base is the Python that the tests run on. Another one: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm
# With PostgreSQL's client, for several replicas (16 MB more): --build-arg EXTRAS=postgres; with SOCKS: EXTRAS=socks.
# Both: EXTRAS="postgres socks".
# Packages from a mirror: --build-arg PIP_INDEX_URL=https://… ; a proxy and authorities of one's own: docs/compose.md
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ── build: a wheel of the program, and the names of what it needs ────────────────────────────────────────
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY deploy/docker ./docker
COPY otel_bridge ./otel_bridge
ARG EXTRAS=
ARG PIP_INDEX_URL
# What a shell reads has no carriage returns, however it was checked out or packed.
RUN mkdir -p /wheel /state/otel-bridge \
 && sed -i 's/\r$//' docker/service.sh \
 && pip wheel --quiet --no-deps --wheel-dir /wheel . \
 && python docker/requirements.py pyproject.toml ${EXTRAS} > /wheel/requirements.txt \
 && cp constraints.txt docker/healthcheck.py docker/service.sh docker/import_all.py /wheel

# ── final: a virtual environment, and nothing to build with ──────────────────────────────────────────────
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

# pip reads the first by itself, uv the second; as arguments they are in a step's surroundings, and in no container's.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX=${PIP_INDEX_URL}
# One step, since a builder without BuildKit takes longer to put files away than uv takes to install them: what installs
# leaves with it, the base's pip too, which whoever gets into the container should not find. Bytecode is written for what
# the program imports, and not for the two thirds that it never does: a third of the size.
COPY --from=build /wheel /opt/wheel
RUN python -m venv --without-pip /opt/otel-bridge \
 && pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check --root-user-action ignore \
      --constraint /opt/wheel/constraints.txt --target /tmp/uv uv \
 && /tmp/uv/bin/uv pip install --quiet --no-cache --python /opt/otel-bridge --constraint /opt/wheel/constraints.txt \
      --requirement /opt/wheel/requirements.txt /opt/wheel/*.whl \
 && mv /opt/wheel/healthcheck.py /opt/wheel/service.sh /opt/otel-bridge/lib/ \
 && /opt/otel-bridge/bin/python /opt/wheel/import_all.py \
 && rm -rf /opt/wheel /tmp/uv /usr/local/bin/pip* /usr/local/bin/wheel /usr/bin/pip* /usr/lib/python3/dist-packages/pip* \
      /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/site-packages/setuptools* \
      /usr/local/lib/python3*/site-packages/wheel*
# The only folder that is written to; a new named volume takes over its owner.
COPY --from=build --chown=10001:10001 /state/otel-bridge /var/lib/otel-bridge
ENV PATH=/opt/otel-bridge/bin:$PATH \
    HOME=/var/lib/otel-bridge \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_STATE_HOME=/var/lib \
    OTEL_BRIDGE_LISTEN=[::]:8790
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
