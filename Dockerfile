# The gateway in a container, which runs functions in containers beside it: docs/docker.md, "The gateway in a container".
#
#     docker build -t lambda-provider .
#     docker run --rm -p 127.0.0.1:4566:4566 -v /var/run/docker.sock:/var/run/docker.sock lambda-provider
ARG BASE=python:3.12-slim
FROM ${BASE}
COPY . /src
RUN python -m pip install --no-cache-dir --root-user-action ignore '/src[standalone,docker]' && rm -r /src \
    # What the gateway imports is compiled once, not in each container.
    && python -c "import lambda_provider.hosts.gateway, lambda_provider.hosts.standalone, lambda_runtime.executors.docker, moto.server"
EXPOSE 4566
ENTRYPOINT ["lambda-provider"]
CMD ["start", "--host", "0.0.0.0", "--executor", "docker"]
