"""The README's commands do what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def blocks(mark: str) -> list[str]:
    return re.findall(rf"^```sh {mark}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


@pytest.mark.scenario
@pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not installed")
def test_quick_start_with_the_aws_cli(gateway: Any, tmp_path: Path) -> None:
    (script,) = blocks("quickstart")
    script = "set -eux\n" + script.replace("http://127.0.0.1:4566", gateway.url)
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert '{"greeting": "Hello, you!"}' in done.stdout
    assert "hello from hello" in done.stdout
    assert (tmp_path / "answer.json").read_text() == '{"greeting": "Hello, you!"}'


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`(script/\w+)`|^(script/\w+)", (ROOT / "README.md").read_text(), re.M)))
)
def test_scripts_that_it_names_are_there(name: tuple[str, str]) -> None:
    path = ROOT / (name[0] or name[1])
    assert path.stat().st_mode & 0o111, f"{path} is not executable"


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "README.md").read_text()))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
