# quantkit with ONNX Runtime and OpenVINO, on the CPU:
#   docker build -t quantkit .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" quantkit calibrate model.onnx --data imgs/calib -o out
FROM python:3.11-bookworm AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.11-slim-bookworm
COPY --from=build /wheels /wheels
# The wheel beside it is the version.
# hadolint ignore=DL3013
RUN wheel=$(echo /wheels/*.whl) \
    && pip install --no-cache-dir "${wheel}[openvino]" \
    && useradd --uid 1000 quantkit
# Wherever --user puts the process, its caches can be written.
ENV HOME=/tmp
USER 1000
WORKDIR /data
ENTRYPOINT ["quantkit"]
CMD ["--help"]
