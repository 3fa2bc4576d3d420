"""What each language is started with, and which runtimes are whose."""

from __future__ import annotations

import hashlib
import http.server
import io
import shutil
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import botocore.session
import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.process.interpreters import Interpreters
from lambda_runtime.executors.process.languages import LANGUAGES, OS_ONLY, java_client, language_of, nodejs_sdk
from lambda_runtime.executors.process.languages.base import Interpreter, RuntimeFiles, Start
from lambda_runtime.executors.process.languages.dotnet import DotNet
from lambda_runtime.executors.process.languages.java import Java, machine_options
from lambda_runtime.types import FunctionVersion

VERSION = FunctionVersion(
    arn="arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
    account_id="000000000000",
    region="us-east-1",
    function_name="f",
    version="$LATEST",
    revision="1",
    code=None,
    runtime="java21",
    handler="example.Handler",
    memory_mib=512,
)
JVM = Interpreter("java", (21, 0, 2), Path("/usr/lib/jvm/21/bin/java"), Path("/usr/lib/jvm/21"))


def test_every_runtime_of_the_model_is_somebodys() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    runtimes = model.shape_for("Runtime").enum
    assert len(runtimes) > 40
    for runtime in set(runtimes) - {"custom"}:  # Which AWS documents nowhere, and refuses.
        owners = [name for name, language in LANGUAGES.items() if language.wanted(runtime) is not None]
        assert len(owners) + (runtime in OS_ONLY) == 1, runtime
        if owners:
            assert runtime.startswith(owners[0])
    for language in LANGUAGES.values():
        assert all(language_of(runtime) is language for runtime in language.runtimes)


@pytest.mark.parametrize(
    ("runtime", "wanted"),
    [
        ("java8.al2", (8,)),
        ("java11.al2023", (11,)),
        ("java25", (25,)),
        ("ruby3.4", (3, 4)),
        ("dotnet8", (8,)),
        ("dotnetcore3.1", (3,)),
        ("python2.7", (2, 7)),
        ("nodejs4.3-edge", (4,)),
        ("nodejs22.x", (22,)),
        ("nodejs", ()),
    ],
)
def test_a_runtime_names_a_version(runtime: str, wanted: tuple[int, ...]) -> None:
    language = language_of(runtime)
    assert language is not None
    assert language.wanted(runtime) == wanted


# --- Java


def _machine(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True)
    text = f"    java.home = {path.parent.parent}\\n    java.version = {version}"
    path.write_text(f"#!/bin/sh\nprintf 'Property settings:\\n{text}\\n' >&2\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which Java lies in directories that the test makes."""
    monkeypatch.setattr(Java, "places", lambda self, wanted: iter([str(tmp_path / "*" / "bin" / "java")]))
    return tmp_path


def test_a_virtual_machine_is_asked_for_its_version_and_home(machines: Path) -> None:
    _machine(machines / "a" / "bin" / "java", "1.8.0_402")
    _machine(machines / "b" / "bin" / "java", "17.0.15")
    found, warning = Interpreters({}).find("java8.al2")
    assert (found.version, found.prefix, warning) == ((8, 0, 402), machines / "a", "")
    assert Interpreters({}).find("java17")[0].version == (17, 0, 15)


def test_the_nearest_virtual_machine_is_the_oldest_that_reads_the_classes(machines: Path) -> None:
    for name, version in (("a", "1.8.0_402"), ("b", "11.0.20"), ("c", "25.0.1")):
        _machine(machines / name / "bin" / "java", version)
    found, warning = Interpreters({}).find("java17")
    assert found.version == (25, 0, 1)
    assert "java17 is not installed" in warning
    (machines / "c" / "bin" / "java").unlink()
    assert Interpreters({}).find("java17")[0].version == (11, 0, 20)


def test_the_heap_is_as_large_as_on_aws() -> None:
    assert "-XX:MaxHeapSize=445645k" in machine_options(JVM, (21,), 512, "")


@pytest.mark.parametrize(
    ("own", "gone"),
    [
        ("-Xmx64m", "-XX:MaxHeapSize="),
        ("-XX:MaxRAMPercentage=50", "-XX:MaxHeapSize="),
        ("-Dx=y -XX:+UseZGC", "-XX:+UseSerialGC"),
        ("-XX:TieredStopAtLevel=4", "-XX:TieredStopAtLevel=1"),
        ("-XX:-TieredCompilation", "-XX:+TieredCompilation"),
        ("-XX:SharedArchiveFile=/var/task/own.jsa", "-Xshare:auto"),
    ],
)
def test_what_a_function_says_itself_is_not_said_again(own: str, gone: str) -> None:
    assert any(option.startswith(gone) for option in machine_options(JVM, (21,), 512, ""))
    assert not any(option.startswith(gone) for option in machine_options(JVM, (21,), 512, own))


def test_compilation_stops_at_level_1_from_java_17_on() -> None:
    assert "-XX:TieredStopAtLevel=1" not in machine_options(JVM, (11,), 512, "")
    assert "-XX:TieredStopAtLevel=1" in machine_options(JVM, (17,), 512, "")


def test_old_virtual_machines_get_no_options_that_they_do_not_know() -> None:
    old = replace(JVM, version=(8, 0, 402))
    assert not [option for option in machine_options(old, (8,), 512, "") if option.startswith("--")]
    assert "--enable-native-access=ALL-UNNAMED" in machine_options(replace(JVM, version=(25, 0, 1)), (25,), 512, "")


def test_the_program_of_a_function_in_java() -> None:
    files = RuntimeFiles(
        {}, class_path=("a.jar", "b.jar"), options=("-Dx={runtime}/lib/x.so", "-XX:SharedArchiveFile=y")
    )
    start = Start(VERSION, JVM, "/var/lang/bin/java", files, "/var/task", "/opt", "/var/runtime", None)
    program = Java().program(start)
    assert program[0] == "/var/lang/bin/java"
    assert "-Dx=/var/runtime/lib/x.so" in program
    assert program[-4:] == [
        "-cp",
        "/var/runtime/lib/a.jar:/var/runtime/lib/b.jar",
        java_client.MAIN_CLASS,
        "example.Handler",
    ]
    own = replace(VERSION, environment={"JAVA_TOOL_OPTIONS": "-Xshare:off"})
    assert "-XX:SharedArchiveFile=y" not in Java().program(replace(start, version=own))
    plain = Java().program(replace(start, layers="/tmp/layers"))
    assert plain[plain.index("-cp") + 1].endswith(":/tmp/layers/java/lib/*"), "the client looks into /opt only"


# --- AWS's client for Java


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """An HTTP repository with made-up jars, on a machine without Maven; its address and its directory."""
    root, artifacts = tmp_path / "repository", []
    for artifact in java_client.ARTIFACTS:
        content = _jar(artifact.name)
        path = root / artifact.path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        artifacts.append(replace(artifact, sha256=hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(java_client, "ARTIFACTS", tuple(artifacts))
    monkeypatch.setattr(java_client.shutil, "which", lambda name: None)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *values: object) -> None:
            super().__init__(*values, directory=str(root))  # type: ignore[arg-type]

        def log_message(self, format: str, *values: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", root
        server.shutdown()


def _jar(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("name", name)
        file.writestr(java_client._native(), "a library")
    return buffer.getvalue()


def test_the_client_is_fetched_once_and_found_from_then_on(repository: tuple[str, Path]) -> None:
    address, root = repository
    with pytest.raises(VersionFailed, match="lambda-provider runtimes install java"):
        java_client.find({})
    client = java_client.install({"LAMBDA_MAVEN_REPOSITORY": address})
    assert client.jars == tuple(artifact.file for artifact in java_client.ARTIFACTS)
    assert (client.directory / client.native).read_text() == "a library"
    shutil.rmtree(root)
    assert java_client.install({"LAMBDA_MAVEN_REPOSITORY": address}) == java_client.find({}) == client


def test_what_is_not_what_it_should_be_is_not_taken(repository: tuple[str, Path]) -> None:
    address, root = repository
    (root / java_client.ARTIFACTS[1].path).write_bytes(_jar("something else"))
    with pytest.raises(java_client.NotFetched, match=r"aws-lambda-java-core-.*SHA-256 differs"):
        java_client.install({"LAMBDA_MAVEN_REPOSITORY": address})
    with pytest.raises(VersionFailed):
        java_client.find({})


def test_a_repository_that_does_not_have_it_or_is_not_named_is_told(repository: tuple[str, Path]) -> None:
    address, _ = repository
    with pytest.raises(java_client.NotFetched, match="could not be fetched: HTTP Error 404"):
        java_client.install({"LAMBDA_MAVEN_REPOSITORY": f"{address}nowhere"})
    with pytest.raises(java_client.NotFetched, match=r"no `mvn`.*LAMBDA_MAVEN_REPOSITORY="):
        java_client.install({})


def test_mavens_local_repository_is_enough(repository: tuple[str, Path], tmp_path: Path) -> None:
    _, root = repository
    shutil.copytree(root, tmp_path / "home" / ".m2" / "repository")
    assert java_client.find({}).jars[0] == java_client.ARTIFACTS[0].file


def test_a_setting_names_a_directory_with_another_version(repository: tuple[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    with pytest.raises(VersionFailed, match=r"LAMBDA_JAVA_RIC=.* has no aws-lambda-java-runtime-interface-client"):
        java_client.find({"LAMBDA_JAVA_RIC": str(folder)})
    for name in ("aws-lambda-java-runtime-interface-client-9.9.9.jar", "aws-lambda-java-core-9.9.9.jar"):
        (folder / name).write_bytes(_jar(name))
    client = java_client.find({"LAMBDA_JAVA_RIC": str(folder)})
    assert client.name == "aws-lambda-java-runtime-interface-client 9.9.9"
    assert (client.directory / client.native).is_file()
    assert java_client.find({"LAMBDA_JAVA_RIC": str(folder / "aws-lambda-java-core-9.9.9.jar")}) == client


# --- .NET, of which there is nothing here: what can be held without it


@pytest.fixture
def dotnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that lists runtimes as `dotnet` does and prints what else it is told."""
    path = tmp_path / "sdk" / "dotnet"
    path.parent.mkdir()
    listed = (
        "Microsoft.AspNetCore.App 9.0.1 [/x]\nMicrosoft.NETCore.App 8.0.11 [/x]\nMicrosoft.NETCore.App 10.0.0-rc.1 [/x]"
    )
    path.write_text(f"#!/bin/sh\n[ \"$1\" = --list-runtimes ] && printf '%s\\n' '{listed}' || printf '%s\\n' \"$@\"\n")
    path.chmod(0o755)
    monkeypatch.setattr(DotNet, "places", lambda self, wanted: iter([str(path)]))
    return path


def test_a_dotnet_host_is_asked_for_its_runtimes(dotnet: Path) -> None:
    found, warning = Interpreters({}).find("dotnet10")
    assert (found.version, found.executable, warning) == ((10, 0, 0), dotnet, "")


def _start(handler: str, files: RuntimeFiles, unpacked: Path, path: Path) -> Start:
    host = Interpreter("dotnet", (8, 0, 11), path, path.parent)
    version = replace(VERSION, runtime="dotnet8", handler=handler)
    return Start(version, host, str(path), files, "/var/task", "/opt", "/var/runtime", unpacked)


def test_a_class_library_runs_with_the_support_that_a_setting_names(dotnet: Path, tmp_path: Path) -> None:
    support, code = tmp_path / "support", tmp_path / "code"
    support.mkdir()
    code.mkdir()
    handler = "Assembly::Name.Space.Type::Method"
    with pytest.raises(VersionFailed, match="LAMBDA_DOTNET_RUNTIME_SUPPORT=/path"):
        DotNet().program(_start(handler, RuntimeFiles({}), code, dotnet))
    host = Interpreters({}).find("dotnet8")[0]
    with pytest.raises(VersionFailed, match=r"has no Amazon\.Lambda\.RuntimeSupport\.dll"):
        DotNet().files(host, {"LAMBDA_DOTNET_RUNTIME_SUPPORT": str(support)})
    (support / "Amazon.Lambda.RuntimeSupport.dll").touch()
    files = DotNet().files(host, {"LAMBDA_DOTNET_RUNTIME_SUPPORT": str(support)})
    (code / "Other.deps.json").touch()
    assert DotNet().program(_start(handler, files, code, dotnet)) == [
        str(dotnet),
        "exec",
        "--depsfile",
        "/var/task/Other.deps.json",
        "--runtimeconfig",
        "/var/task/Assembly.runtimeconfig.json",
        "/var/runtime/Amazon.Lambda.RuntimeSupport.dll",
        handler,
    ]


def test_an_executable_assembly_brings_its_client(dotnet: Path, tmp_path: Path) -> None:
    assert DotNet().program(_start("App", RuntimeFiles({}), tmp_path, dotnet)) == [str(dotnet), "/var/task/App.dll"]
    (tmp_path / "App").touch()
    assert DotNet().program(_start("App", RuntimeFiles({}), tmp_path, dotnet)) == ["/var/task/App"]


NODE = Interpreter("nodejs", (20, 1, 0), Path("/usr/bin/node"), Path("/usr"))


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An `npm` that notes its arguments in the file that is returned, and makes a node_modules in the `--prefix`."""
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n'
        'case "$*" in *refused*) echo "npm error 404" >&2; exit 1;; esac\n'
        'mkdir -p "$3/node_modules/@aws-sdk"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "arguments"


def test_npm_fetches_the_sdk_of_node_js_once_and_environments_see_it(npm: Path) -> None:
    node = LANGUAGES["nodejs"]
    assert "node_modules" not in node.files(NODE, {}).entries
    assert "runtimes install nodejs" in node.client(NODE, {})
    place = nodejs_sdk.install([])
    assert "@aws-sdk/client-s3@3" in npm.read_text() and "--ignore-scripts" in npm.read_text()
    assert node.files(NODE, {}).entries["node_modules"] == place
    assert str(place) in node.client(NODE, {})
    assert (place / "@aws-sdk").stat().st_mode & 0o777 == 0o755
    nodejs_sdk.install(["@aws-sdk/client-ec2"])
    assert npm.read_text().split()[-1] == "@aws-sdk/client-ec2"


def test_what_npm_says_is_told(npm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(nodejs_sdk.NotFetched, match="npm error 404"):
        nodejs_sdk.install(["refused"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(nodejs_sdk.NotFetched, match=r"there is no `npm`.*LAMBDA_NODEJS_SDK"):
        nodejs_sdk.install([])


def test_a_setting_names_the_sdk_of_node_js(tmp_path: Path) -> None:
    files = LANGUAGES["nodejs"].files(NODE, {"LAMBDA_NODEJS_SDK": str(tmp_path)})
    assert files.entries["node_modules"] == tmp_path.resolve()
