"""From code to what CreateFunction is told."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.testing.deployment import Deployment, deployment_of, python_runtime

HANDLER = "def handler(event, context):\n    return event\n"
HERE = f"python3.{sys.version_info.minor}"


def files(deployment: Deployment) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(deployment.archive)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def modes(deployment: Deployment) -> dict[str, int]:
    with zipfile.ZipFile(io.BytesIO(deployment.archive)) as archive:
        return {entry.filename: (entry.external_attr >> 16) & 0o777 for entry in archive.infolist()}


def test_python_runs_on_the_python_of_the_tests() -> None:
    assert python_runtime() == HERE


def test_files_with_their_content() -> None:
    deployment = deployment_of({"index.py": HANDLER, "data.bin": b"\x00"})
    assert (deployment.name, deployment.handler, deployment.runtime) == ("function", "index.handler", HERE)
    assert files(deployment) == {"index.py": HANDLER, "data.bin": "\x00"}


@pytest.mark.parametrize(
    ("names", "handler", "runtime"),
    [
        (["orders.py"], "orders.handler", HERE),
        (["app.py", "util.py"], "app.handler", HERE),
        (["lambda_function.py", "util.py"], "lambda_function.lambda_handler", HERE),
        (["index.mjs", "node_modules/x/index.js"], "index.handler", "nodejs22.x"),
        (["main.js"], "main.handler", "nodejs22.x"),
        (["bootstrap"], "bootstrap", "provided.al2023"),
        (["bootstrap", "index.js"], "index.handler", "provided.al2023"),
    ],
)
def test_handler_and_runtime_follow_from_the_names_of_files(names: list[str], handler: str, runtime: str) -> None:
    deployment = deployment_of(dict.fromkeys(names, ""))
    assert (deployment.handler, deployment.runtime) == (handler, runtime)


def test_what_is_said_wins_over_what_follows() -> None:
    deployment = deployment_of({"a.py": "", "b.py": ""}, handler="b.run", runtime="python3.13")
    assert (deployment.handler, deployment.runtime) == ("b.run", "python3.13")


@pytest.mark.parametrize("names", [["a.py", "b.py"], [], ["data.json"]])
def test_a_handler_that_does_not_follow_has_to_be_said(names: list[str]) -> None:
    with pytest.raises(ValueError, match="say handler="):
        deployment_of(dict.fromkeys(names, ""))


def test_a_bootstrap_can_be_executed() -> None:
    assert modes(deployment_of({"bootstrap": "", "data": ""})) == {"bootstrap": 0o755, "data": 0o644}


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "order service.py"
    path.write_text(HANDLER)
    deployment = deployment_of(str(path))
    assert (deployment.name, deployment.handler) == ("order-service", "order service.handler")
    assert files(deployment) == {"order service.py": HANDLER}


def test_a_folder_without_what_does_not_belong_there(tmp_path: Path) -> None:
    for name in ("app.py", "lib/util.py", "__pycache__/app.pyc", ".git/config", "lib/__pycache__/util.pyc"):
        (tmp_path / "orders" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "orders" / name).write_text(name)
    (tmp_path / "orders" / "lib" / "util.py").chmod(0o755)
    deployment = deployment_of(tmp_path / "orders")
    assert (deployment.name, deployment.handler) == ("orders", "app.handler")
    assert modes(deployment) == {"app.py": 0o644, "lib/util.py": 0o755}


def test_a_zip_archive_goes_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "built.zip"
    path.write_bytes(deployment_of({"main.py": HANDLER}).archive)
    deployment = deployment_of(path)
    assert deployment == Deployment(path.read_bytes(), "built", "main.handler", HERE)


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        deployment_of(tmp_path / "missing.py")


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_comes_with_its_module(importable: Path) -> None:
    (importable / "orders_module.py").write_text("STATE = 1\ndef take(event, context):\n    return STATE\n")
    from orders_module import take  # type: ignore[import-not-found]

    deployment = deployment_of(take)
    assert (deployment.name, deployment.handler) == ("take", "orders_module.take")
    assert list(files(deployment)) == ["orders_module.py"]


def test_a_function_in_a_package_comes_with_the_whole_package(importable: Path) -> None:
    for name in ("shop/__init__.py", "shop/orders/__init__.py", "shop/orders/api.py", "shop/prices.py", "other.py"):
        (importable / name).parent.mkdir(parents=True, exist_ok=True)
        (importable / name).write_text("def handler(event, context): ...\n")
    from shop.orders import handler as of_package  # type: ignore[import-not-found]
    from shop.orders.api import handler as of_module  # type: ignore[import-not-found]

    wanted = ["shop/__init__.py", "shop/orders/__init__.py", "shop/orders/api.py", "shop/prices.py"]
    for function, handler in ((of_module, "shop.orders.api.handler"), (of_package, "shop.orders.handler")):
        deployment = deployment_of(function)
        assert deployment.handler == handler
        assert sorted(files(deployment)) == wanted


def run(deployment: Deployment, event: Any) -> Any:
    """As Lambda would, with nothing around it."""
    names: dict[str, Any] = {}
    exec(files(deployment)["index.py"], names)
    return names[deployment.handler.partition(".")[2]](event, None)


def test_a_function_within_a_test_comes_alone() -> None:
    def doubles(event: list[Any], context: Any) -> Any:
        import json as names

        return names.dumps([value * len(event) for value in event])

    deployment = deployment_of(doubles)
    assert (deployment.name, deployment.handler) == ("doubles", "index.doubles")
    assert run(deployment, [1, 2]) == "[2, 4]"


def of_this_module(event: Any, context: Any) -> Any:
    return [event]


def test_a_function_of_a_test_module_comes_alone() -> None:
    assert run(deployment_of(of_this_module), 1) == [1]


def test_what_a_function_alone_would_miss_is_named() -> None:
    free = 1

    def uses_both(event: Any, context: Any) -> Any:
        return json.dumps([free for _ in event])

    with pytest.raises(ValueError, match="comes into Lambda alone, without free, json around it"):
        deployment_of(uses_both)


class Callable_:
    def __call__(self, event: Any, context: Any) -> Any:
        return event


@pytest.mark.parametrize("what", [lambda event, context: event, Callable_()], ids=["lambda", "object"])
def test_what_has_no_source_of_its_own_is_refused(what: Any) -> None:
    with pytest.raises(ValueError, match="is not a function"):
        deployment_of(what)
