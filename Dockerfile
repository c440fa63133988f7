# One recipe for all images: SERVICE is ingest, inference, combiner, trainer, or edge, which is the first three in one
# process. docker-bake.hcl builds them all.
# EXTRAS=[tflite-runtime] needs PYTHON=python:3.11-slim-bookworm, since it has no wheels for newer ones.
ARG PYTHON=python:3.13-slim-trixie
# What the image is made on, where that has another name for the platform that it is for.
ARG BASE=${PYTHON}

# On the machine that builds, whatever it builds for: packages are chosen and unpacked, not run, and to emulate that takes
# a quarter of an hour.
FROM --platform=$BUILDPLATFORM ${PYTHON} AS build
ARG SERVICE
ARG TARGETARCH
# The folders of what runs; of the edge "edge services/ingest services/inference services/combiner".
ARG PROJECTS="services/${SERVICE}"
# What a service needs of the core, beyond what all need.
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_HTTP_TIMEOUT=180 UV_SYSTEM_CERTS=1
WORKDIR /src
# Debian's and Python's name of the architecture.
RUN case ${TARGETARCH} in amd64) echo x86_64 ;; arm64) echo aarch64 ;; *) exit 1 ;; esac > machine
RUN strip="$(cat machine)-linux-gnu-strip"; command -v $strip >/dev/null || { apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends "binutils-$(tr _ - < machine)-linux-gnu" >/dev/null; }
# Dependencies before code: they change seldom, and are most of an image.
COPY constraints constraints
COPY scripts/requirements_of.py scripts/sbom.py ./
RUN case "${EXTRAS}" in *tflite-runtime*) pins=constraints/tflite-runtime ;; *) pins=constraints ;; esac \
 && cp "$pins/$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt" constraints.txt \
 && python3 -m pip install -q -c constraints.txt uv && python3 -m venv --without-pip /opt/driftline
COPY core/pyproject.toml core/
COPY edge/pyproject.toml edge/
COPY services/ingest/pyproject.toml services/ingest/
COPY services/inference/pyproject.toml services/inference/
COPY services/combiner/pyproject.toml services/combiner/
COPY services/trainer/pyproject.toml services/trainer/
RUN --mount=type=cache,target=/root/.cache/uv \
    python3 requirements_of.py "core${EXTRAS}" ${PROJECTS} > wanted.txt \
 && python3 -m uv pip install -q --python /opt/driftline/bin/python --python-platform "$(cat machine)-manylinux_2_36" \
      --no-build -c constraints.txt -r wanted.txt
COPY core core
COPY kernels kernels
COPY edge edge
COPY services services
# The combiner takes ADWIN of river, which needs neither of these two.
RUN case "${SERVICE}" in combiner | edge) python3 -m uv pip uninstall -q --python /opt/driftline/bin/python scipy narwhals ;; esac
RUN --mount=type=cache,target=/root/.cache/uv \
    DRIFTLINE_MACHINE="$(cat machine)" python3 -m uv pip install -q --python /opt/driftline/bin/python \
      --python-platform "$(cat machine)-manylinux_2_36" -b constraints.txt --no-deps ./core ./kernels $(printf "./%s " ${PROJECTS}) \
 && python3 -m pip --python /opt/driftline/bin/python inspect | python3 sbom.py > /opt/driftline/sbom.json
WORKDIR /opt/driftline/lib
# What nothing of ours reads: tests, sources, what is in a wheel twice, S3 and RPC of Arrow's own, and of AWS's three
# hundred services all but three.
RUN find . -name tests -type d -path '*/site-packages/*' -prune -exec rm -rf {} + \
 && find . \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' -o -name '*.a' \) -delete \
 && find . -path '*/pyarrow/*' \( -name '*flight*' -o -name '*s3*' -o -name 'libarrow_python*.so' \
      -o -name 'libarrow_python*.so.*.*' \) -delete \
 && find . -path '*/botocore/data/*' -prune -type d ! -name s3 ! -name sqs ! -name sts -exec rm -rf {} +
# Symbols for debuggers are a sixth of all. NumPy's libraries were moved about in their files and would not bear it.
RUN find . -name '*.so*' -type f ! -path '*/*.libs/*' ! -path '*/tensorflow/*' -exec "$(cat /src/machine)-linux-gnu-strip" --strip-unneeded {} +

FROM ${BASE}
ARG SERVICE
LABEL org.opencontainers.image.title="driftline-${SERVICE}" \
      org.opencontainers.image.description="Driftline's ${SERVICE}: forecasts of sensor streams that stay right while the data drift" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
# Whatever comes with the base to install things with: nothing is to be installed here.
RUN find /usr -type d -path '*/python3*' \( -name pip -o -name 'pip-*' -o -name setuptools -o -name 'setuptools-*' \
      -o -name wheel -o -name 'wheel-*' -o -name pkg_resources -o -name ensurepip \) -prune -exec rm -rf {} + \
 && rm -rf /usr/bin/pip* /usr/local/bin/pip* /usr/local/bin/wheel /usr/share/python-wheels
RUN groupadd --gid 10001 driftline \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/driftline --shell /usr/sbin/nologin driftline \
 && install -d -o driftline -g driftline /var/lib/driftline
COPY --from=build /opt/driftline /opt/driftline
COPY streams /etc/driftline/streams
ENV PATH=/opt/driftline/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=1 ARROW_DEFAULT_MEMORY_POOL=system \
    DRIFTLINE_SERVICE=${SERVICE} DRIFTLINE_HOST=0.0.0.0 DRIFTLINE_STREAMS=/etc/driftline/streams
WORKDIR /var/lib/driftline
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "driftline.service.probe"]
CMD ["sh", "-c", "exec python -m driftline_$DRIFTLINE_SERVICE"]
