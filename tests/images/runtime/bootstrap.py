"""As in AWS's image of Python: awslambdaric finds the function before the layers before its own packages."""

import os
import sys

_VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_LAYERS = [f"/opt/python/lib/{_VERSION}/site-packages", "/opt/python"]
sys.path[:0] = [os.environ["LAMBDA_TASK_ROOT"], *_LAYERS]

from awslambdaric.__main__ import main  # noqa: E402

if __name__ == "__main__":
    main(["bootstrap", os.environ["_HANDLER"]])
