"""What the code inside an execution environment talks to.

`connection` is HTTP/1.1 as the runtime clients speak it, `server` one listener for each environment, `routes` the endpoints of
the Runtime API (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html), `extensions` and `telemetry` those of the
Extensions, Telemetry and Logs APIs. The state behind them is the environment's.
"""

from lambda_runtime.runtime_api.routes import RuntimeEvents
from lambda_runtime.runtime_api.server import RuntimeApiServer

__all__ = ["RuntimeApiServer", "RuntimeEvents"]
