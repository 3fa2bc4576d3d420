"""Container images from `docker push` to the invoke: the gateway's ECR, its registry, and functions of what it has."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from tests.scenarios.test_deploy_tools import AWS, CDK, SAM, Bench

PYTHON = "public.ecr.aws/lambda/python:3.12"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ECR_FORM = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
needs_engine = pytest.mark.docker


# --- without an engine: what the API says of images


class Registry:
    """Pushes as any client of the Registry HTTP API does."""

    def __init__(self, running: Any) -> None:
        self._port = running.port

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, f"/v2/{path}", body, {name.replace("_", "-"): headers[name] for name in headers})
            response = connection.getresponse()
            return response.status, response.read()

    def push(self, repository: str, tag: str, text: str) -> str:
        """An image that nobody can run; its digest."""
        parts = [(b"{}", "application/vnd.docker.container.image.v1+json")]
        parts.append((text.encode(), "application/vnd.docker.image.rootfs.diff.tar.gzip"))
        described = []
        for content, kind in parts:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            status, answer = self.call("POST", f"{repository}/blobs/uploads/?digest={digest}", content)
            assert status == 201, answer
            described.append({"mediaType": kind, "size": len(content), "digest": digest})
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        return self.put(repository, tag, manifest)

    def put(self, repository: str, tag: str, manifest: dict[str, Any]) -> str:
        content = json.dumps(manifest).encode()
        status, answer = self.call(
            "PUT", f"{repository}/manifests/{tag}", content, content_type=str(manifest["mediaType"])
        )
        assert status == 201, answer
        return f"sha256:{hashlib.sha256(content).hexdigest()}"


def create(client: Any, name: str, uri: str, **parameters: Any) -> Any:
    fine = {"Role": "arn:aws:iam::000000000000:role/r", "PackageType": "Image", "Timeout": 20}
    return client.create_function(FunctionName=name, Code={"ImageUri": uri}, **(fine | parameters))


def refusal(call: Callable[..., Any], *arguments: Any, **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as raised:
        call(*arguments, **parameters)
    error = raised.value.response["Error"]
    return error["Code"], error["Message"]


def test_a_function_is_of_the_image_that_its_tag_named(own_gateway, client_for):
    running = own_gateway("--executor", "process")
    client, ecr = client_for(running.url, "lambda"), client_for(running.url, "ecr")
    uri = ecr.create_repository(repositoryName="app")["repository"]["repositoryUri"]
    assert uri == f"localhost:{running.port}/000000000000/us-east-1/app"
    registry = Registry(running)
    old = registry.push("app", "v1", "old")
    created = create(client, "f", f"{ECR_FORM}/app:v1")
    assert f"sha256:{created['CodeSha256']}" == old
    code = client.get_function(FunctionName="f")["Code"]
    assert code["ResolvedImageUri"] == f"{ECR_FORM}/app@{old}"
    new = registry.push("app", "v1", "new")
    assert f"sha256:{client.get_function_configuration(FunctionName='f')['CodeSha256']}" == old
    client.update_function_code(FunctionName="f", ImageUri=f"{uri}:v1")
    code = client.get_function(FunctionName="f")["Code"]
    assert (code["ImageUri"], code["ResolvedImageUri"]) == (f"{uri}:v1", f"{uri}@{new}")
    images = ecr.describe_images(repositoryName="app")["imageDetails"]
    assert {each["imageDigest"]: each.get("imageTags") for each in images} == {old: None, new: ["v1"]}


def test_images_that_lambda_refuses(own_gateway, client_for):
    running = own_gateway("--executor", "process")
    client, ecr = client_for(running.url, "lambda"), client_for(running.url, "ecr")
    uri = ecr.create_repository(repositoryName="app")["repository"]["repositoryUri"]
    registry = Registry(running)
    digest = registry.push("app", "v1", "layer")

    def refused(image: str) -> str:
        code, message = refusal(create, client, "f", image)
        assert code == "InvalidParameterValueException"
        return message

    for missing in (f"{ECR_FORM}/app:v2", f"{uri}:v2", f"{uri}@sha256:{'0' * 64}", f"{uri}-2:v1"):
        assert refused(missing) == f"Source image {missing} does not exist. Provide a valid source image."
    for wrong in (f"{ECR_FORM}/app", uri, f"{uri}:v1@{digest}"):
        assert refused(wrong) == f"Source image {wrong} is not valid. Provide a valid source image."
    child = {"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    registry.put("app", "all", {"schemaVersion": 2, "mediaType": kind, "manifests": [child]})
    assert refused(f"{uri}:all") == (
        f"The image manifest, config or layer media type for the source image {uri}:all is not supported."
    )
    elsewhere = client_for(running.url, "ecr", region="eu-west-1").create_repository(repositoryName="app")
    far = elsewhere["repository"]["repositoryUri"]
    registry.push("000000000000/eu-west-1/app", "v1", "far")
    assert refused(f"{far}:v1") == f"Source image {far}:v1 is not valid. Provide a valid source image."
    assert client.list_functions()["Functions"] == []


def test_a_disk_without_room_is_said_and_does_no_harm(own_gateway, client_for, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "x", str(small)], check=False).returncode:
        pytest.skip("a disk of a few megabytes cannot be made here")
    try:
        running = own_gateway("--executor", "process", "--state-dir", str(small))
        client_for(running.url, "ecr").create_repository(repositoryName="app")
        registry = Registry(running)
        content = os.urandom(4 * 1024 * 1024)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        status, answer = registry.call("POST", f"app/blobs/uploads/?digest={digest}", content)
        assert status == 503
        (error,) = json.loads(answer)["errors"]
        assert error["code"] == "UNAVAILABLE" and "No space left on device" in error["message"]
        assert list((small / "registry" / "uploads").iterdir()) == []
        registry.push("app", "v1", "small")
        running.process.terminate()
        running.process.wait(20)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


# --- with an engine


@pytest.fixture(scope="module")
def engine(images: list[str]) -> Iterator[Any]:
    import docker

    client = docker.from_env(timeout=60)
    yield client
    client.close()


@pytest.fixture
def executor() -> str:
    """That of the gateways of tests with an engine; the others name theirs."""
    return "docker"


LABEL = "lambda-provider.test"


@pytest.fixture
def mark(engine: Any, tmp_path: Path) -> Iterator[str]:
    """A label for all images of this test: when its gateways have ended they go, whatever names the tools gave them."""
    from docker.errors import ImageNotFound

    yield f"{LABEL}={tmp_path}"
    for image in engine.api.images(filters={"label": f"{LABEL}={tmp_path}"}, quiet=True):
        with contextlib.suppress(ImageNotFound):
            engine.images.remove(image, force=True)


@pytest.fixture
def own_image(engine: Any, mark: str) -> Callable[..., str]:
    """`own_image("name:tag", "text")`: the image of a function that answers the text."""

    def make(name: str, text: str, size: int = 0) -> str:
        files = {
            "main.py": f"def handler(event, context):\n    return {text!r}\n".encode(),
            "filling": os.urandom(size),
        }
        lines = f'FROM {PYTHON}\nCOPY main.py filling /var/task/\nCMD ["main.handler"]\nLABEL {mark}\n'
        files["Dockerfile"] = lines.encode()
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            for path, content in files.items():
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o755
                archive.addfile(entry, io.BytesIO(content))
        context.seek(0)
        engine.images.build(fileobj=context, custom_context=True, tag=name, rm=True, forcerm=True)
        return name

    return make


def forget(engine: Any, *names: str) -> None:
    """Take images from the engine, so that they have to come from the registry."""
    for name in names:
        engine.images.remove(engine.images.get(name).id, force=True)


def docker(tmp_path: Path, *arguments: str, text: str | None = None) -> str:
    """Docker's own command line, with credentials of the test's own."""
    done = subprocess.run(
        ["docker", *arguments],
        env={**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker")},
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def repository(mark, own_gateway, client_for, functions_of):
    """`repository("name", …)`: a gateway, a client of its ECR, its functions, and the URI of a new repository."""

    def start(name: str, *arguments: str, **env: str) -> tuple[Any, Any, Any, str]:
        running = own_gateway(*arguments, **env)
        ecr = client_for(running.url, "ecr")
        uri = ecr.create_repository(repositoryName=name)["repository"]["repositoryUri"]
        return running, ecr, functions_of(running), uri

    return start


def active(functions: Any, name: str) -> None:
    functions.client.get_waiter("function_active_v2").wait(FunctionName=name)


@needs_engine
@pytest.mark.skipif(shutil.which("docker") is None, reason="the docker command is not installed")
def test_what_users_do(repository, own_image, engine, tmp_path):
    _, ecr, functions, uri = repository("team/app")
    (token,) = ecr.get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(token["authorizationToken"]).decode().partition(":")
    login = docker(tmp_path, "login", "--username", user, "--password-stdin", token["proxyEndpoint"], text=password)
    assert "Login Succeeded" in login

    built = own_image("stand-in-ecr-flow:1", "one")
    docker(tmp_path, "tag", built, f"{uri}:live")
    pushed = docker(tmp_path, "push", f"{uri}:live")
    digest = re.search(r"digest: (sha256:\w+)", pushed)
    assert digest is not None
    (image,) = ecr.describe_images(repositoryName="team/app")["imageDetails"]
    assert (image["imageDigest"], image["imageTags"]) == (digest[1], ["live"])

    create(functions.client, "f", f"{ECR_FORM}/team/app:live")
    active(functions, "f")
    assert functions.result("f") == "one"
    code = functions.client.get_function(FunctionName="f")["Code"]
    assert code["ResolvedImageUri"] == f"{ECR_FORM}/team/app@{digest[1]}"

    docker(tmp_path, "tag", own_image("stand-in-ecr-flow:2", "two"), f"{uri}:live")
    docker(tmp_path, "push", f"{uri}:live")
    functions.client.update_function_configuration(FunctionName="f", MemorySize=256)
    functions.client.get_waiter("function_updated_v2").wait(FunctionName="f")
    assert functions.result("f") == "one", "a tag that moves changes no function"
    functions.client.update_function_code(FunctionName="f", ImageUri=f"{uri}:live")
    functions.client.get_waiter("function_updated_v2").wait(FunctionName="f")
    assert functions.result("f") == "two"

    ecr.put_image_tag_mutability(repositoryName="team/app", imageTagMutability="IMMUTABLE")
    docker(tmp_path, "tag", built, f"{uri}:live")
    with pytest.raises(AssertionError, match="the repository is immutable"):
        docker(tmp_path, "push", f"{uri}:live")
    docker(tmp_path, "tag", built, f"{uri}-nowhere:live")
    with pytest.raises(AssertionError, match="The repository with name 'team/app-nowhere' does not exist"):
        docker(tmp_path, "push", f"{uri}-nowhere:live")


@needs_engine
def test_what_is_not_here_is_pulled_once_for_all_who_wait_and_the_log_says_how_far(
    repository, own_image, engine, capfd
):
    _, _, functions, uri = repository("app", "--log-level", "info")
    own_image(f"{uri}:v1", "pulled", size=3_000_000)
    engine.images.push(uri, tag="v1")
    forget(engine, f"{uri}:v1")
    names = [f"f{number}" for number in range(5)]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda name: create(functions.client, name, f"{uri}:v1"), names))
    for name in names:
        active(functions, name)
        assert functions.result(name) == "pulled"
    log = capfd.readouterr().err
    assert len(re.findall(rf"pulling {re.escape(uri)}@sha256:\w+ for linux/", log)) == 1
    assert len(re.findall(rf"pulled {re.escape(uri)}@sha256:\w+ in", log)) == 1


@needs_engine
def test_with_a_state_directory_functions_find_their_image_after_a_restart_under_another_address(
    repository, own_image, own_gateway, stop_gateway, functions_of, engine, tmp_path
):
    state = str(tmp_path / "state")
    running, _, functions, uri = repository("app", "--state-dir", state)
    own_image(f"{uri}:v1", "kept")
    engine.images.push(uri, tag="v1")
    create(functions.client, "f", f"{uri}:v1")
    active(functions, "f")
    assert functions.result("f") == "kept"
    assert stop_gateway(running) == 0
    forget(engine, f"{uri}:v1")
    again = own_gateway("--state-dir", state)
    assert again.port != running.port
    functions = functions_of(again)
    active(functions, "f")
    assert functions.result("f") == "kept"


@needs_engine
def test_a_registry_that_the_engine_cannot_reach_fails_the_function_and_says_so(repository, own_image, engine):
    running, _, functions, uri = repository("app", LAMBDA_ECR_ENDPOINT="localhost:1")
    assert uri.startswith("localhost:1/")
    pushed = f"localhost:{running.port}/{uri.partition('/')[2]}"
    own_image(f"{pushed}:v1", "far")
    engine.images.push(pushed, tag="v1")
    create(functions.client, "f", f"{ECR_FORM}/app:v1")
    with pytest.raises(WaiterError):
        active(functions, "f")
    state = functions.client.get_function_configuration(FunctionName="f")
    assert state["StateReasonCode"] == "InvalidImage"
    assert "connection refused" in state["StateReason"] and f"{ECR_FORM}/app:v1" in state["StateReason"]


@needs_engine
def test_an_image_of_another_architecture(repository, engine, mark, tmp_path):
    running, _, functions, uri = repository("app")
    other = "amd64" if engine.info()["Architecture"] in ("aarch64", "arm64") else "arm64"
    own = {"amd64": "arm64", "arm64": "x86_64"}[other]
    registry = Registry(running)
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as archive:
        archive.addfile(tarfile.TarInfo("nothing"))
    content = layer.read_bytes()
    zipped = gzip.compress(content)
    config = json.dumps(
        {
            "architecture": other,
            "os": "linux",
            "config": {"Labels": dict([mark.split("=")])},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
        }
    ).encode()
    described = []
    for part, kind in (
        (config, "application/vnd.docker.container.image.v1+json"),
        (zipped, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ):
        digest = f"sha256:{hashlib.sha256(part).hexdigest()}"
        assert registry.call("POST", f"app/blobs/uploads/?digest={digest}", part)[0] == 201
        described.append({"mediaType": kind, "size": len(part), "digest": digest})
    registry.put(
        "app", "v1", {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
    )
    create(functions.client, "f", f"{uri}:v1", Architectures=[own])
    with pytest.raises(WaiterError):
        active(functions, "f")
    state = functions.client.get_function_configuration(FunctionName="f")
    assert state["StateReasonCode"] == "InvalidImage"
    assert f"is for {other}" in state["StateReason"] and f"{uri}:v1" in state["StateReason"]


# --- with the tools that users deploy with


@pytest.fixture
def bench(mark, own_gateway, client_for, tmp_path: Path) -> Bench:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "image").mkdir()
    (folder / "image" / "main.py").write_text("def handler(event, context):\n    return 'deployed'\n")
    (folder / "image" / "Dockerfile").write_text(
        f'FROM {PYTHON}\nCOPY main.py /var/task/\nCMD ["main.handler"]\nLABEL {mark}\n'
    )
    gateway = own_gateway()
    more = {"DOCKER_CONFIG": str(folder / "docker"), "DOCKER_BUILDKIT": "0"}
    return Bench(folder, gateway, lambda service: client_for(gateway.url, service), more)


def answer_of(bench: Bench, name: str) -> Any:
    return json.loads(bench.client("lambda").invoke(FunctionName=name)["Payload"].read())


@needs_engine
@pytest.mark.skipif(AWS is None, reason="the AWS CLI is not installed")
def test_the_aws_command_line(bench: Bench) -> None:
    uri = bench.run(
        AWS, "ecr", "create-repository", "--repository-name", "cli", "--query", "repository.repositoryUri",
        "--output", "text",
    ).strip()  # fmt: skip
    password = bench.run(AWS, "ecr", "get-login-password").strip()
    docker(bench.folder, "login", "-u", "AWS", "--password-stdin", uri.partition("/")[0], text=password)
    bench.run("docker", "build", "-q", "-t", f"{uri}:v1", "image")
    bench.run("docker", "push", f"{uri}:v1")
    bench.run(
        AWS, "lambda", "create-function", "--function-name", "cli", "--package-type", "Image", "--role",
        "arn:aws:iam::000000000000:role/r", "--code", f"ImageUri={uri}:v1",
    )  # fmt: skip
    bench.run(AWS, "lambda", "wait", "function-active-v2", "--function-name", "cli")
    assert answer_of(bench, "cli") == "deployed"


CDK_APP = """
const cdk = require("aws-cdk-lib");
const lambda = require("aws-cdk-lib/aws-lambda");
const app = new cdk.App();
const stack = new cdk.Stack(app, "Images", { env: { account: "000000000000", region: "us-east-1" } });
const fn = new lambda.DockerImageFunction(stack, "Function", { code: lambda.DockerImageCode.fromImageAsset("image") });
new cdk.CfnOutput(stack, "Name", { value: fn.functionName });
"""


@needs_engine
@pytest.mark.skipif(CDK is None, reason="aws-cdk is not installed: script/deploy-tools")
def test_cdk_docker_image_function(bench: Bench) -> None:
    assert CDK is not None
    (bench.folder / "app.js").write_text(CDK_APP)
    modules = {"NODE_PATH": str(Path(CDK).parent.parent), "CDK_DISABLE_VERSION_CHECK": "1"}
    app = ("--app", "node app.js", "--no-color", "--no-notices")
    bench.run(CDK, "bootstrap", *app, **modules)
    bench.run(CDK, "deploy", *app, "--require-approval", "never", **modules)
    assert answer_of(bench, bench.outputs("Images")["Name"]) == "deployed"


SAM_TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties: {PackageType: Image, Timeout: 20}
    Metadata: {Dockerfile: Dockerfile, DockerContext: image, DockerTag: v1}
Outputs:
  Name: {Value: !Ref Function}
"""


@needs_engine
@pytest.mark.skipif(SAM is None, reason="aws-sam-cli is not installed: script/deploy-tools")
def test_sam_package_type_image(bench: Bench) -> None:
    (bench.folder / "template.yaml").write_text(SAM_TEMPLATE)
    uri = bench.client("ecr").create_repository(repositoryName="sam")["repository"]["repositoryUri"]
    bench.run(SAM, "build")
    bench.run(
        SAM, "deploy", "--stack-name", "sam", "--image-repository", uri, "--resolve-s3", "--capabilities",
        "CAPABILITY_IAM", "--no-confirm-changeset",
    )  # fmt: skip
    assert answer_of(bench, bench.outputs("sam")["Name"]) == "deployed"
