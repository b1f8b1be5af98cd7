# The CPU image: the server with MLX's CPU backend and the embedded model, for any Linux host, amd64 or arm64.
#
#   docker build -t llm-server .
#   docker run -p 127.0.0.1:42002:42002 -e LLM_API_KEY=secret llm-server
#
# A Mac's GPU is out of reach of a container, so gpt-oss-20b on Apple Silicon runs outside (`make serve`).
# /state holds the key of seals and downloaded models: with a volume there, `--read-only --tmpfs /tmp` works, too.

ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
RUN apt-get update && apt-get install --yes --no-install-recommends binutils
RUN --mount=type=cache,target=/root/.cache/pip pip install --root-user-action=ignore "uv==${UV_VERSION}"
ENV UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/llm-server \
    UV_LINK_MODE=copy
WORKDIR /source
# What is locked changes rarely and is most of the image, so it is a layer of its own. Left out is what libraries import
# only if it is there: for other models' tokenizers, for colors on a terminal, and for downloads other than by HTTPS.
ARG SYNC="uv sync --frozen --no-dev --no-default-groups --extra cpu --no-install-package sentencepiece \
  --no-install-package rich --no-install-package pygments --no-install-package hf-xet"
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv ${SYNC} --no-install-project
COPY README.md LICENSE ./
COPY service ./service
# uv keeps the wheel that it once built from this folder, and takes it for current while pyproject.toml is the same.
RUN --mount=type=cache,target=/root/.cache/uv ${SYNC} --no-editable --refresh-package llm-server
# Leave out what only compilers, debuggers and test runners read, and the code of transformers' other models: mlx-lm
# imports that library for its tokenizers, and the server has one of its own. Then compile what a start imports, and not
# the thousands of modules that it does not; an import that missed something would end the build here.
RUN cd /opt/llm-server/lib/python3.*/site-packages \
 && find . -type d '(' -name tests -o -name include -o -name __pycache__ ')' -prune -exec rm -rf {} + \
 && find . -type f -regex '.*\.\(pyi\|pyx\|pxd\|c\|h\|a\)' -delete \
 && find . -type f -name '*.so*' ! -path './*.libs/*' -exec strip --strip-unneeded {} + \
 && find transformers/models -mindepth 1 -maxdepth 1 -type d ! -name auto ! -name encoder_decoder -exec rm -rf {} + \
 && /opt/llm-server/bin/python -c "import gunicorn.app.wsgiapp, llm_server.engine.process, llm_server.engine.loading, \
llm_server.gunicorn_config, llm_server.server, llm_server.supervisor, llm_server.demo"

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="llm-server" \
      org.opencontainers.image.description="A local gpt-oss server with the OpenAI and Anthropic APIs" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --home-dir /state --no-create-home --shell /usr/sbin/nologin llm \
 && install --directory --owner llm --group llm --mode 0700 /state
COPY --from=build /opt/llm-server /opt/llm-server
ENV PATH=/opt/llm-server/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/state/huggingface \
    LLM_HOST=0.0.0.0 \
    LLM_STATE_DIR=/state
USER 10001:10001
WORKDIR /state
VOLUME /state
EXPOSE 42002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "-c", "import http.client, os\n\
port = int(os.environ.get('LLM_PORT') or 42002)\n\
connection = http.client.HTTPConnection('127.0.0.1', port, timeout=4)\n\
connection.request('GET', '/readyz')\n\
raise SystemExit(connection.getresponse().status != 200)"]
ENTRYPOINT ["llm-server"]
CMD ["serve"]
