# Two images from one recipe. Every package comes from requirements.lock, by hash.
#
#   docker build --tag sequence-processor .                                       the service; no TensorFlow in it
#   docker build --tag sequence-processor:converter --target converter .          `processor convert`, with TensorFlow
#
# tests/deploy runs each RUN below that has to do with packages, on a machine without a container engine.

FROM python:3.12-slim-bookworm AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY pyproject.toml requirements.lock ./
# pip installs uv alone; uv installs the rest.
RUN awk '/^uv==/ {on = 1} on {print} on && !/\\$/ {exit}' requirements.lock > uv.lock \
 && python -m pip install --no-cache-dir --require-hashes --no-deps -r uv.lock

FROM tools AS wheel
COPY README.md LICENSE ./
COPY processor processor
RUN uv build --wheel --build-constraints requirements.lock --require-hashes --out-dir /wheels

# The lock constrains, pyproject.toml names: so an environment gets its own share of the lock, and each file by its hash.
FROM tools AS runtime-environment
RUN python -m venv --without-pip /opt/processor \
 && uv pip install --python /opt/processor/bin/python --require-hashes -r pyproject.toml --extra service -c requirements.lock
COPY --from=wheel /wheels /wheels
RUN uv pip install --python /opt/processor/bin/python --no-deps --no-index /wheels/*.whl

FROM tools AS converter-environment
RUN python -m venv --without-pip /opt/processor \
 && uv pip install --python /opt/processor/bin/python --require-hashes -r pyproject.toml --extra service --extra convert \
    -c requirements.lock
COPY --from=wheel /wheels /wheels
RUN uv pip install --python /opt/processor/bin/python --no-deps --no-index /wheels/*.whl

FROM python:3.12-slim-bookworm AS image
ENV PATH=/opt/processor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 processor \
 && useradd --uid 10001 --gid processor --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin processor \
 && install --directory --owner processor --group processor /var/lib/processor
WORKDIR /var/lib/processor
USER 10001:10001
ENTRYPOINT ["processor"]

FROM image AS converter
COPY --from=converter-environment /opt/processor /opt/processor
CMD ["convert", "--help"]

FROM image AS runtime
COPY --from=runtime-environment /opt/processor /opt/processor
# The states of this process alone: a volume for each process, never one for several.
VOLUME ["/var/lib/processor"]
EXPOSE 9108
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --retries=3 CMD ["python", "-m", "processor.runtime.health", "/etc/processor/processor.toml"]
CMD ["run", "-c", "/etc/processor/processor.toml"]
