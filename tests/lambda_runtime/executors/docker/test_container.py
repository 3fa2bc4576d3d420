from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.containers.settings import parse_flags
from lambda_runtime.executors.docker import container


def test_a_container_may_do_no_more_than_a_function_on_aws(plan: Any) -> None:
    host = container.config(plan(), {}, "/pipes")["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["SecurityOpt"]) == (True, ["ALL"], ["no-new-privileges"])
    assert host["Memory"] == host["MemorySwap"] == 1112 << 20
    assert {"Name": "nofile", "Soft": 1024, "Hard": 1024} in host["Ulimits"]


def test_tmp_counts_as_memory_where_nobody_looks(plan: Any) -> None:
    assert container.config(plan(memory_watched=False), {}, None)["HostConfig"]["Memory"] == 512 << 20


@pytest.mark.parametrize(("podman", "bound"), [(False, True), (True, False)])
def test_files_in_tmp_are_bounded_where_the_engine_takes_the_bound(podman: bool, bound: bool, plan: Any) -> None:
    temporary = container.config(plan(podman=podman), {}, "/pipes")["HostConfig"]["Tmpfs"]
    assert "size=600m" in temporary["/tmp"]
    assert [("nr_inodes=" in options) for path, options in temporary.items() if path != "/dev/shm"] == [bound, bound]


def test_processor_time_is_proportional_to_memory() -> None:
    assert container.processor_limit(1769) == {"cpu_period": 100_000, "cpu_quota": 100_000}
    assert container.processor_limit(3538)["cpu_quota"] == 200_000


def test_a_network_of_the_machine_has_no_name_of_its_own(plan: Any) -> None:
    assert "Hostname" not in container.config(plan(network="host"), {}, None)
    assert container.config(plan(), {}, None)["Domainname"] == "localdomain"


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("8080", {"8080/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("9000:8080", {"8080/tcp": [{"HostIp": "", "HostPort": "9000"}]}),
        ("127.0.0.1:9000:53/udp", {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "9000"}]}),
    ],
)
def test_ports_are_published_as_docker_writes_them(text: str, bound: dict[str, Any], plan: Any) -> None:
    made = container.config(plan(flags=parse_flags(f"-p {text}")), {}, None)
    assert made["HostConfig"]["PortBindings"] == bound


@pytest.fixture
def run(tmp_path: Path, plan: Any) -> Any:
    """Run the line of shell around a program as a container would, with its directories in `tmp_path`."""

    def call(*program: str, pipes: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
        made = container.config(plan(program=program), variables, "x" if pipes else None)
        (tmp_path / "notes").mkdir(exist_ok=True)
        command = [*made["Entrypoint"], *made["Cmd"]]
        command[2] = (
            command[2].replace("/run/lambda-notes", str(tmp_path / "notes")).replace("/run/lambda", str(tmp_path))
        )
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/x", "HOSTNAME": "x", **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return call


def test_the_runtime_is_not_the_first_process_and_its_number_is_known(run: Any, tmp_path: Path) -> None:
    done = run("/bin/sh", "-c", "echo $$; echo problem >&2; exit 7")
    assert (done.returncode, done.stderr) == (7, "problem\n")
    assert done.stdout == (tmp_path / "notes" / "runtime").read_text()


def test_output_goes_into_the_pipe_with_descriptor_three(run: Any, tmp_path: Path) -> None:
    done = run("/bin/sh", "-c", "echo one; echo two >&2; echo three >&3", pipes=True)
    assert (done.stdout, (tmp_path / "output").read_text()) == ("", "one\ntwo\nthree\n")


def test_a_shell_does_not_comment_on_how_the_runtime_ended(run: Any) -> None:
    done = run("/bin/sh", "-c", "kill -9 $$")
    assert (done.returncode, done.stdout, done.stderr) == (137, "", "")


def test_programs_that_cannot_be_executed_are_told_apart(run: Any, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    assert run(str(tmp_path / "missing")).returncode == container.NOT_FOUND
    assert run(str(tmp_path / "plain")).returncode == container.NOT_EXECUTABLE
    assert run("no-such-program-anywhere").returncode == container.NOT_FOUND


def test_variables_of_the_engine_are_taken_away_unless_they_are_the_functions(run: Any) -> None:
    assert "HOSTNAME" not in run("env").stdout
    assert "HOME=/own" in run("env", HOME="/own").stdout


def test_an_extension_does_not_see_the_images_variables_of_the_runtime(plan: Any) -> None:
    extended = plan(extensions=("ext",), image_variables=("LAMBDA_TASK_ROOT", "LANG"))
    line = container.extension_command(extended, "ext", ["LANG"], True)[2]
    assert "LAMBDA_TASK_ROOT" in line and "LANG" not in line.replace("LAMBDA", "")
