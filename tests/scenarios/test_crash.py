"""A few kills of what `script/crashtest` does in full."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.scenario


def test_a_gateway_that_is_killed_again_and_again_loses_and_doubles_nothing(project_root: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(project_root / "script" / "crashtest.py"), "--kills", "8", "--seconds", "1.2"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    figures = dict(re.findall(r"^ *(.+?)  +([\d,]*\d)", found.stdout, re.MULTILINE))
    assert figures["kills with SIGKILL"] == "8"
    assert int(figures["changes acknowledged"].replace(",", "")) > 20, found.stdout
    assert figures["events acknowledged"] == figures["delivered"] != "0"
    assert figures["missing"] == "0"
    assert list(tmp_path.iterdir()) == []
