"""What layers bring into an environment, in which order, and what an exec wrapper may do with the runtime.

https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html and runtimes-modify.html.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from typing import Any

import pytest

EXECUTORS = ("process", "docker")

pytestmark = pytest.mark.scenario

EVALUATE = "import os, subprocess, sys\ndef handler(event, context):\n    return eval(event)\n"
WRAPPER = """#!/bin/bash
# As in AWS's documentation: change the environment and the arguments, then start the runtime.
echo "wrapped: $#"
export OF_THE_WRAPPER="of ${AWS_LAMBDA_FUNCTION_NAME}"
args=("$@")
exec "${args[@]}"
"""
NODE = "exports.handler = async () => [process.env.OF_THE_WRAPPER, process.execArgv];\n"
NODE_WRAPPER = """#!/bin/sh
program=$1
shift
OF_THE_WRAPPER=yes exec "$program" --max-semi-space-size=1 "$@"
"""


@pytest.fixture
def layer(aws_client: Callable[..., Any], zip_of: Callable[..., bytes]) -> Callable[..., str]:
    """`layer({"file": content, …})` publishes a layer; scripts are executable."""
    numbers = itertools.count(1)

    def publish(files: dict[str, str]) -> str:
        archive = zip_of(files, executable=tuple(name for name, content in files.items() if content.startswith("#!")))
        answer = aws_client("lambda").publish_layer_version(
            LayerName=f"layer-{next(numbers)}-of-tests", Content={"ZipFile": archive}
        )
        return answer["LayerVersionArn"]

    return publish


def test_layers_are_merged_and_a_later_one_wins(deploy, layer, result):
    first = layer({"python/mine.py": "x = 'first'\n", "python/only_first.py": "x = 1\n", "data/a": "first"})
    second = layer({"python/mine.py": "x = 'second'\n", "python/only_second.py": "x = 2\n", "data/b": "second"})
    imported = "[__import__(name).x for name in ('mine', 'only_first', 'only_second')]"
    assert result(deploy(EVALUATE, Layers=[first, second]), imported) == ["second", 1, 2]
    assert result(deploy(EVALUATE, Layers=[second, first]), imported) == ["first", 1, 2]
    assert result(deploy(EVALUATE, Layers=[first, second]), "sorted(os.listdir('/opt/data'))") == ["a", "b"]


def test_the_function_wins_over_its_layers_and_they_over_the_runtime(deploy, layer, result):
    brought = layer({"python/mine.py": "x = 'layer'\n", "python/botocore/__init__.py": "x = 'layer'\n"})
    name = deploy({"index.py": EVALUATE, "mine.py": "x = 'function'\n"}, Layers=[brought])
    assert result(name, "[__import__('mine').x, __import__('botocore').x]") == ["function", "layer"]


def test_programs_and_libraries_of_layers_are_found(deploy, layer, result):
    brought = layer({"bin/of-a-layer": "#!/bin/sh\necho found\n", "lib/file": "x"})
    name = deploy(EVALUATE, Layers=[brought])
    assert result(name, "subprocess.run(['of-a-layer'], capture_output=True, text=True).stdout") == "found\n"
    assert "/opt/lib" in result(name, "os.environ['LD_LIBRARY_PATH']").split(":")


@pytest.mark.usefixtures("isolated")
@pytest.mark.parametrize(
    "path", ["/opt/python/mine.py", "/opt/python/new.py", "/opt/new", "/var/task/index.py", "/var/task/new"]
)
def test_layers_and_code_are_read_only(deploy, layer, invoke, path):
    name = deploy(EVALUATE, Layers=[layer({"python/mine.py": "x = 1\n"})])
    payload = invoke(name, f"open({path!r}, 'a')").payload
    assert payload["errorType"] in ("OSError", "PermissionError"), payload


def test_a_changed_layer_is_in_new_environments_only_after_an_update(deploy, layer, result, aws_client):
    name = deploy(EVALUATE, Layers=[layer({"python/mine.py": "x = 1\n"})])
    assert result(name, "__import__('mine').x") == 1
    newer = layer({"python/mine.py": "x = 2\n"})
    assert result(name, "__import__('mine').x") == 1
    client = aws_client("lambda")
    client.update_function_configuration(FunctionName=name, Layers=[newer])
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert result(name, "__import__('mine').x") == 2


@pytest.mark.parametrize("where", ["/opt/wrapper", "/var/task/wrapper"])
def test_an_exec_wrapper_starts_the_runtime(deploy, layer, result, invoke, where):
    files = {"index.py": EVALUATE, **({"wrapper": WRAPPER} if where.startswith("/var") else {})}
    name = deploy(
        files,
        executable=("wrapper",),
        Layers=[layer({"wrapper": WRAPPER})] if where.startswith("/opt") else [],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": where}},
    )
    assert result(name, "os.environ['OF_THE_WRAPPER']") == f"of {name}"
    assert result(name, "os.environ['AWS_LAMBDA_EXEC_WRAPPER']") == where


def test_a_wrapper_can_give_the_interpreter_options(deploy, layer, result):
    options = '#!/bin/sh\nprogram=$1\nshift\nexec "$program" -X importtime "$@"\n'
    name = deploy(
        EVALUATE,
        Layers=[layer({"wrapper": options})],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}},
    )
    assert result(name, "sys._xoptions") == {"importtime": True}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_wrapper_of_nodejs(deploy, result):
    name = deploy(
        {"index.js": NODE, "wrapper": NODE_WRAPPER},
        runtime="nodejs20.x",
        executable=("wrapper",),
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}},
    )
    variable, options = result(name)
    assert variable == "yes"
    assert "--max-semi-space-size=1" in options


def test_a_wrapper_has_no_effect_on_an_os_only_runtime(deploy, result):
    """runtimes-modify.html: wrapper scripts are not supported on OS-only runtimes."""
    bootstrap = """#!/bin/sh
while :; do
    curl -sS -D /tmp/head -o /tmp/event "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next" || exit 1
    id=$(sed -n 's/^lambda-runtime-aws-request-id: *//Ip' /tmp/head | tr -d '\\r')
    curl -sS -o /dev/null -d "\\"${OF_THE_WRAPPER:-not wrapped}\\"" \
        "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"
done
"""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    name = deploy(
        {"bootstrap": bootstrap, "wrapper": WRAPPER},
        runtime="provided.al2023",
        executable=("bootstrap", "wrapper"),
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}},
    )
    assert result(name) == "not wrapped"


NODE_PACKAGES = {
    "nodejs/node_modules/of-the-layer/package.json": '{"exports": "./index.mjs"}',
    "nodejs/node_modules/of-the-layer/index.mjs": "import { name } from 'beside'; export default `layer with ${name}`;",
    "nodejs/node_modules/beside/index.js": "exports.name = 'another';",
}


@pytest.mark.process_only  # In a container the image decides.
def test_es_modules_import_the_packages_of_layers(deploy, layer, result, isolated):
    packages = layer(NODE_PACKAGES)
    source = (
        "import found from 'of-the-layer';\n"
        "export const handler = async () => [found, (await import('beside')).default.name];\n"
    )
    name = deploy({"index.mjs": source}, runtime="nodejs20.x", Layers=[packages])
    assert result(name) == ["layer with another", "another"]


def test_packages_of_the_function_win_over_those_of_layers(deploy, layer, result, isolated):
    own = {"index.mjs": "export { default as handler } from 'of-the-layer';"}
    own["node_modules/of-the-layer/index.js"] = "module.exports = async () => 'own';"
    assert result(deploy(own, runtime="nodejs20.x", Layers=[layer(NODE_PACKAGES)])) == "own"


@pytest.mark.process_only  # In a container the image decides.
@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("index.js", "const s3 = require('@aws-sdk/client-s3'); exports.handler = async () => s3.name;"),
        ("index.mjs", "import s3 from '@aws-sdk/client-s3'; export const handler = async () => s3.name;"),
    ],
)
def test_functions_find_the_aws_sdk_for_javascript_where_it_is(
    own_gateway, functions_of, tmp_path, isolated, file, source
):
    package = tmp_path / "node_modules" / "@aws-sdk" / "client-s3"
    package.mkdir(parents=True)
    (package / "index.js").write_text("exports.name = 'SDK';")
    functions = functions_of(own_gateway(LAMBDA_NODEJS_SDK=str(tmp_path / "node_modules")))
    node = {"Runtime": "nodejs20.x", "Handler": "index.handler"}
    functions.create("with-sdk", {file: source}, **node)
    assert functions.result("with-sdk") == "SDK"
    functions.create("without", {file: source.replace("client-s3", "client-ec2")}, **node)
    outcome = functions.invoke("without", LogType="Tail")
    assert outcome.error == "Unhandled"
    assert "@aws-sdk/client-ec2 is not on this machine: `lambda-provider runtimes install nodejs`" in outcome.log
