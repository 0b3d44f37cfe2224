# Build the container image of a role: docker build --target function|trainer|agent|agent-camera|agent-s3|agent-camera-s3|console .
# Each image has a layer of packages that requirements/ pins, which change rarely, and a layer of Eaves' own code, which is small.
# Those of functions and agents have one more with byte code of the standard library, which official slim images of Python lack,
# and `-camera` and `-s3` one more of packages each. Nothing writes outside /tmp, so a read-only root file system with an empty
# /tmp is enough. The base needs Python >= 3.11, as `python` and `python3`, and its venv module; all stages must use the same
# base. It is named by the digest of its multi-platform index (Python 3.13.15), because a tag can move; --build-arg BASE=...
# selects another base.
ARG BASE=python:3.13-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${BASE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /tools && /tools/bin/pip install --require-hashes -r requirements/build.txt
# pip stays in /tools. Byte code is never checked against its source, because files in an image don't change. A check would cost a
# stat call, and a recompilation at every cold start if the sources were unpacked at another time.
RUN printf '%s\n' '#!/bin/sh -eu' \
    'python3 -m venv --without-pip /opt/eaves' \
    '/tools/bin/pip --python /opt/eaves/bin/python install --require-hashes -r "requirements/$1.txt"' \
    'python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/eaves/lib' > /tools/bin/install-lock \
    && printf '%s\n' '#!/bin/sh -eu' \
    '/tools/bin/pip --python /opt/eaves/bin/python install --require-hashes --no-deps --root /added -r "requirements/$1.txt"' \
    'python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /added' > /tools/bin/add-lock \
    && chmod +x /tools/bin/install-lock /tools/bin/add-lock

FROM tools AS code
COPY pyproject.toml README.md LICENSE ./
COPY requirements/serve.txt requirements/
COPY eaves eaves
COPY trainer trainer
COPY converters converters
COPY functions functions
COPY knative knative
RUN /tools/bin/python -m build --no-isolation --wheel --outdir /dist . \
    && /tools/bin/pip install --no-deps --no-index --target /opt/code /dist/*.whl && rm -rf /opt/code/bin \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/code

# The stage builds the runtime with the same code with which `eaves package` builds it on a base.
FROM tools AS function-runtime
COPY requirements/serve.txt requirements/
COPY eaves eaves
COPY functions functions
RUN PYTHONPATH=/src /tools/bin/python -P -m eaves.oci.runtime function /out

FROM tools AS agent-environment
COPY requirements/agent.txt requirements/
RUN /tools/bin/install-lock agent

# These stages hold only the packages that an agent with cameras or buckets has in addition to a plain agent, so that its container
# image shares all layers of the plain agent's.
FROM agent-environment AS agent-camera-packages
COPY requirements/agent-camera.txt requirements/
RUN /tools/bin/add-lock agent-camera

FROM agent-environment AS agent-s3-packages
COPY requirements/agent-s3.txt requirements/
RUN /tools/bin/add-lock agent-s3

# The stage keeps the modules of Eaves that an agent's processes import. The metadata has the entry points of Eaves' own plug-ins, and lets
# pip recognise that Eaves is installed, when it adds packages with other kinds of sources.
FROM code AS agent-code
RUN PYTHONPATH=/src /tools/bin/python -P -m eaves.oci.runtime agent /out \
    && cp -R /opt/code/*.dist-info /out/code/opt/code/

FROM tools AS console-environment
COPY requirements/console.txt requirements/
RUN /tools/bin/install-lock console

FROM tools AS trainer-environment
COPY requirements/train.txt requirements/
RUN /tools/bin/install-lock train

# PYTHONPATH puts the packages of Eaves before those of the lock file, and PYTHONSAFEPATH excludes the working directory, so that no
# other package named `functions` or `trainer` is imported instead.
FROM ${BASE} AS runtime
ENV PYTHONPATH=/opt/code \
    PYTHONSAFEPATH=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    HOME=/tmp
WORKDIR /
USER 65532:65532
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM runtime AS trainer
LABEL org.opencontainers.image.title="eaves-trainer" \
      org.opencontainers.image.description="Trains an image model from a folder per class and leaves a run"
ENV PATH=/opt/eaves/bin:$PATH
COPY --from=trainer-environment /opt/eaves /opt/eaves
COPY --from=code /opt/code /opt/code
ENTRYPOINT ["python", "-P", "-m", "trainer"]

FROM runtime AS agent
LABEL org.opencontainers.image.title="eaves-agent" \
      org.opencontainers.image.description="Turns images into CloudEvents and delivers them, at least once"
ENV PATH=/opt/eaves/bin:$PATH
COPY --from=agent-code /out/library/ /
COPY --from=agent-environment /opt/eaves /opt/eaves
COPY --from=agent-code /out/code/opt/code /opt/code
ENTRYPOINT ["python", "-P", "-m", "eaves.sources"]

FROM agent AS agent-camera
LABEL org.opencontainers.image.title="eaves-agent-camera" \
      org.opencontainers.image.description="An agent that also takes images from video streams"
COPY --from=agent-camera-packages /added /

# For cameras with claim checks, which need both.
FROM agent-camera AS agent-camera-s3
LABEL org.opencontainers.image.title="eaves-agent-camera-s3" \
      org.opencontainers.image.description="An agent that also takes images from video streams, and uses buckets"
COPY --from=agent-s3-packages /added /

FROM agent AS agent-s3
LABEL org.opencontainers.image.title="eaves-agent-s3" \
      org.opencontainers.image.description="An agent that also uses buckets"
COPY --from=agent-s3-packages /added /

FROM runtime AS console
LABEL org.opencontainers.image.title="eaves-console" \
      org.opencontainers.image.description="Shows a site as a web page"
ENV PATH=/opt/eaves/bin:$PATH
COPY --from=console-environment /opt/eaves /opt/eaves
COPY --from=code /opt/code /opt/code
ENTRYPOINT ["python", "-P", "-m", "knative.console"]

# numpy only copies arrays here, so OpenBLAS's thread pool would cost start time and memory without being used.
FROM runtime AS function
LABEL org.opencontainers.image.title="eaves-function" \
      org.opencontainers.image.description="Predicts images that arrive as CloudEvents, with one ONNX model"
ENV PYTHONPATH=/opt/code:/opt/eaves \
    OPENBLAS_NUM_THREADS=1
COPY --from=function-runtime /out/library/ /
COPY --from=function-runtime /out/packages/opt/eaves /opt/eaves
COPY --from=function-runtime /out/code/opt/code /opt/code
EXPOSE 8080
ENTRYPOINT ["python", "-P", "-m", "functions"]
