"""The script that a zygote's interpreter is started with: makes this directory a package and serves."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from zygote.nursery import InChild  # type: ignore[import-not-found]
from zygote.server import main  # type: ignore[import-not-found]

if __name__ == "__main__":
    try:
        main()
        work = None
    except InChild as child:
        # Out of the handler first: what the function's process does must not look like the handling of an exception.
        work = child.work
    if work is not None:
        work()
