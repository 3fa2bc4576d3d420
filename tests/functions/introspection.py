"""Answers who it runs as, and where."""

import getpass
import platform
import pwd
import stat
import subprocess
from pathlib import Path

PATHS = ("/var/task", "/opt", "/tmp", "/lambda-entrypoint.sh")


def handler(event, context):
    return {
        "event": event,
        "user_login_name": getpass.getuser(),
        "user_whoami": subprocess.getoutput("whoami"),
        "platform_system": platform.system(),
        "platform_machine": platform.machine(),
        "pwd": str(Path.cwd()),
        "paths": {name: value for path in PATHS for name, value in facts(Path(path))},
    }


def facts(path):
    status = path.stat()
    name = str(path).replace("/", "_")
    yield f"{name}_mode", stat.filemode(status.st_mode)
    yield f"{name}_uid", status.st_uid
    yield f"{name}_owner", pwd.getpwuid(status.st_uid).pw_name
    yield f"{name}_gid", status.st_gid
