"""Functions in containers of a Docker engine: AWS's own images, or the user's.

Reader's order: `executor` (the RuntimeExecutor, on the base in `containers`), `client` (which engine there is) and `engine`
(the one way to it); `images`, `contents`, `limits` and `code_store` (preparation); `reach` (how a container finds the
gateway); `container` (what is asked of the engine for an environment), `sandbox` (the gateway's side of a running one) with
`output`, `inside` (what is started in it), `local_view` and `meter` (what it uses); `leftovers` (what killed gateways left)
and `capabilities`.

No program of ours is put into a container. What AWS's platform does around the runtime (holding it back until the extensions
have registered, a process above it, a pipe for its log) the image's own /bin/sh does; docs/docker.md says where that ends.
"""

try:
    import docker as _docker  # noqa: F401
except ImportError as error:
    raise ImportError("containers need the Docker SDK: pip install 'lambda-provider[docker]'") from error

from lambda_runtime.executors.docker.executor import DockerExecutor, PreparedDockerVersion

__all__ = ["DockerExecutor", "PreparedDockerVersion"]
