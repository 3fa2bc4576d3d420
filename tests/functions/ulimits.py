"""Answers the resource limits of its process."""

import resource

NAMES = ("AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "RSS", "STACK")


def handler(event, context):
    return {f"RLIMIT_{name}": resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in NAMES}
