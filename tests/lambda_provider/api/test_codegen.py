"""The checked-in files are what script/codegen writes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lambda_provider.api.spec import load

ROOT = Path(__file__).resolve().parents[3]
API = ROOT / "lambda_provider" / "api"


@pytest.fixture(scope="module")
def codegen() -> ModuleType:
    spec = importlib.util.spec_from_file_location("codegen", ROOT / "script" / "codegen.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["service.json", "shapes.py", "exceptions.py", "interface.py"])
def test_checked_in_files_are_what_codegen_writes(codegen, name) -> None:
    source = codegen.source_model()
    if hashlib.sha256(source).hexdigest() != load().source_sha256:
        pytest.skip("the installed botocore has another model of Lambda than service.json was made from")
    patches = json.loads((API / "spec_patches.json").read_text("utf-8"))

    assert (API / name).read_text("utf-8") == codegen.generate(source, patches)[name]


MODEL = {
    "version": "2.0",
    "metadata": {},
    "operations": {
        "GetThing": {
            "name": "GetThing",
            "http": {"method": "GET", "requestUri": "/things/{Name}", "responseCode": 200},
            "input": {"shape": "GetThingRequest"},
            "output": {"shape": "Thing"},
            "documentation": "<p>gone</p>",
        }
    },
    "shapes": {
        "GetThingRequest": {
            "type": "structure",
            "required": ["Name"],
            "members": {"Name": {"shape": "Name", "location": "uri", "locationName": "Name", "documentation": "gone"}},
        },
        "Name": {"type": "string", "max": 64, "documentation": "gone"},
        "Thing": {"type": "structure", "members": {"documentation": {"shape": "Name"}, "Parts": {"shape": "Things"}}},
        "Things": {"type": "list", "member": {"shape": "Thing"}},
        "Gone": {
            "type": "structure",
            "members": {"Type": {"shape": "Name"}, "Message": {"shape": "Name"}},
            "error": {"httpStatusCode": 410},
            "exception": True,
        },
    },
}


@pytest.fixture
def generated(codegen) -> dict[str, str]:
    patches = [{"op": "replace", "path": "/shapes/Name/max", "value": 140}]
    return codegen.generate(json.dumps(MODEL).encode(), patches)


def test_patches_are_applied_and_documentation_is_gone(generated) -> None:
    service = json.loads(generated["service.json"])
    assert service["shapes"]["Name"] == {"type": "string", "max": 140}
    assert service["shapes"]["Thing"]["members"]["documentation"] == {"shape": "Name"}
    assert "gone" not in generated["service.json"]


def test_shapes_say_what_is_required(generated) -> None:
    assert "class GetThingRequest(TypedDict):\n    Name: str\n" in generated["shapes.py"]
    assert "    Parts: NotRequired[list[Thing]]\n" in generated["shapes.py"]


def test_errors_have_code_status_and_members(generated) -> None:
    assert (
        'class Gone(LambdaError):\n    code = "Gone"\n    status_code = 410\n    members = ("Type", "Message")\n'
        in generated["exceptions.py"]
    )


def test_operations_are_methods(generated) -> None:
    assert (
        "    def get_thing(self, context: RequestContext, request: shapes.GetThingRequest) -> shapes.Thing:\n"
        '        raise OperationNotImplemented("GetThing")\n' in generated["interface.py"]
    )


def test_importing_the_api_needs_neither_botocore_nor_the_typed_dictionaries() -> None:
    program = "import sys, lambda_provider.api, lambda_provider.wire; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"botocore", "jsonpatch", "lambda_provider.api.shapes"}.isdisjoint(loaded)
