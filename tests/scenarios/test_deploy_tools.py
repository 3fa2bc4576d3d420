"""The tools that users deploy with, run as users run them, against a gateway: a function with a layer, an alias, a URL and a
mapping of a queue. `script/deploy-tools` gets SAM and CDK; what is not there is skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.urls import call
from tests.scenarios.witness import Witness

ROOT = Path(__file__).parent.parent.parent
DEPLOYMENTS = ROOT / "tests" / "deployments"
TIMEOUT_S = 240


def tool(name: str, *places: str) -> str | None:
    """Where a tool is: in a place of ours, or wherever the user has it."""
    return next((str(ROOT / place) for place in places if (ROOT / place).exists()), shutil.which(name))


AWS = tool("aws", ".aws-cli/bin/aws")
SAM = tool("sam", ".cache/sam/bin/sam")
CDK = tool("cdk", ".cache/cdk/node_modules/.bin/cdk")


@dataclass(frozen=True)
class Bench:
    """A folder with the application in it, and a gateway to deploy it to."""

    folder: Path
    gateway: Any
    client: Callable[[str], Any]
    more: Mapping[str, str]

    def run(self, *command: str | None, **env: str) -> str:
        """What a command printed; fails if it failed."""
        variables = {
            **os.environ,
            "AWS_ENDPOINT_URL": self.gateway.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SAM_CLI_TELEMETRY": "0",
            "HOME": str(self.folder),
            **self.more,
            **env,
        }
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def outputs(self, stack: str) -> dict[str, str]:
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {each["OutputKey"]: each["OutputValue"] for each in found["Outputs"]}

    def check(self, stack: str, greeting: str, version: str, witness: Witness) -> None:
        """The alias, the URL and the mapping run the function, with its layer."""
        outputs = self.outputs(stack)
        expected = {"greeting": greeting, "version": version}
        answer = self.client("lambda").invoke(
            FunctionName=outputs["AliasArn"], Payload=json.dumps({"port": witness.port})
        )
        assert json.loads(answer["Payload"].read()) == expected
        assert call(self.gateway, outputs["Url"]).json == expected
        before = len(witness.heard)
        self.client("sqs").send_message(QueueUrl=outputs["QueueUrl"], MessageBody=json.dumps({"port": witness.port}))
        heard = witness.until(lambda all_of_it: len(all_of_it) > before)
        assert heard[-1] == f"{greeting} by version {version}"


@pytest.fixture
def bench(own_gateway: Callable[..., Any], client_for: Callable[..., Any], tmp_path: Path) -> Bench:
    folder = tmp_path / "app"
    shutil.copytree(DEPLOYMENTS, folder)
    gateway = own_gateway()
    return Bench(folder, gateway, lambda service: client_for(gateway.url, service), {})


@pytest.mark.skipif(AWS is None, reason="the AWS CLI is not installed")
def test_aws_cloudformation_deploy(bench: Bench) -> None:
    bench.run(AWS, "s3", "mb", "s3://code")
    bench.run(
        AWS, "cloudformation", "package", "--template-file", "template.yaml", "--s3-bucket", "code",
        "--output-template-file", "packaged.yaml",
    )  # fmt: skip

    def deploy(greeted: str) -> str:
        return bench.run(
            AWS, "cloudformation", "deploy", "--template-file", "packaged.yaml", "--stack-name", "cli",
            "--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset", "--parameter-overrides",
            f"Greeted={greeted}",
        )  # fmt: skip

    with Witness() as witness:
        deploy("you")
        bench.check("cli", "Hello, you!", "1", witness)
        assert "No changes to deploy" in deploy("you")
        deploy("friends")
        # A version is what the function was when it was published: the template publishes no other one.
        bench.check("cli", "Hello, you!", "1", witness)
    bench.run(AWS, "cloudformation", "delete-stack", "--stack-name", "cli")
    bench.run(AWS, "cloudformation", "wait", "stack-delete-complete", "--stack-name", "cli")
    assert bench.client("lambda").list_functions()["Functions"] == []


@pytest.mark.skipif(SAM is None, reason="aws-sam-cli is not installed: script/deploy-tools")
def test_sam_deploy(bench: Bench) -> None:
    def deploy(greeted: str) -> str:
        return bench.run(
            SAM, "deploy", "--template-file", "serverless.yaml", "--stack-name", "sam", "--resolve-s3",
            "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset",
            "--parameter-overrides", f"Greeted={greeted}",
        )  # fmt: skip

    with Witness() as witness:
        assert "Successfully created/updated stack" in deploy("you")
        bench.check("sam", "Hello, you!", "1", witness)
        assert "No changes to deploy" in deploy("you")
        source = bench.folder / "src" / "index.py"
        source.write_text(source.read_text() + "\n# another version\n")
        deploy("friends")
        bench.check("sam", "Hello, friends!", "2", witness)
    bench.run(SAM, "delete", "--stack-name", "sam", "--no-prompts")
    assert bench.client("lambda").list_functions()["Functions"] == []


@pytest.mark.skipif(CDK is None, reason="aws-cdk is not installed: script/deploy-tools")
def test_cdk_deploy(bench: Bench) -> None:
    assert CDK is not None
    modules = {"NODE_PATH": str(Path(CDK).parent.parent), "CDK_DISABLE_VERSION_CHECK": "1"}
    app = ("--app", "node app.js", "--no-color", "--no-notices")
    bench.run(CDK, "bootstrap", *app, **modules)

    def deploy(greeted: str) -> str:
        return bench.run(CDK, "deploy", *app, "--require-approval", "never", **modules, GREETED=greeted)

    with Witness() as witness:
        deploy("you")
        bench.check("CdkStack", "Hello, you!", "1", witness)
        deploy("friends")
        bench.check("CdkStack", "Hello, friends!", "2", witness)
    bench.run(CDK, "destroy", "--force", *app, **modules)
    assert bench.client("lambda").list_functions()["Functions"] == []
