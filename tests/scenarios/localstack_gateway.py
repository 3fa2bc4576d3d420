"""LocalStack's gateway, started as `python -m localstack.runtime.main` does, with a door to its state hooks.

The community edition saves, loads and resets nothing: who does that calls the hooks of a service and sends visitors, within the
process. Here that is `POST /_test/state/save|load|reset?folder=…`, for Lambda.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from localstack.http import Request, Response
from localstack.runtime.main import main
from localstack.services.edge import ROUTER
from localstack.services.plugins import SERVICE_PLUGINS
from localstack.state import AssetDirectory, StateVisitor


class Saving(StateVisitor):
    """Copies directories."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def visit(self, state_container: AssetDirectory) -> None:
        assert isinstance(state_container, AssetDirectory), state_container
        shutil.copytree(state_container.path, self.folder / state_container.service_name)


class Loading(Saving):
    """Replaces directories by what was saved."""

    def visit(self, state_container: AssetDirectory) -> None:
        Resetting(self.folder).visit(state_container)
        shutil.copytree(self.folder / state_container.service_name, state_container.path, dirs_exist_ok=True)


class Resetting(Saving):
    """Empties directories."""

    def visit(self, state_container: AssetDirectory) -> None:
        for path in Path(state_container.path).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


VISITORS = {"save": Saving, "load": Loading, "reset": Resetting}


def change_state(request: Request, moment: str) -> Response:
    service = SERVICE_PLUGINS.require("lambda")
    getattr(service.lifecycle_hook, f"on_before_state_{moment}")()
    service.accept_state_visitor(VISITORS[moment](Path(request.args.get("folder", ""))))
    getattr(service.lifecycle_hook, f"on_after_state_{moment}")()
    return Response(status=204)


def restart(request: Request) -> Response:
    """Stop the service, and have LocalStack start it again."""
    SERVICE_PLUGINS.stop_services(["lambda"])
    SERVICE_PLUGINS.require("lambda")
    return Response(status=204)


ROUTER.add("/_test/state/<moment>", change_state, methods=["POST"])
ROUTER.add("/_test/restart", restart, methods=["POST"])

if __name__ == "__main__":
    main()
