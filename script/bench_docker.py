"""Containers: cold and warm invokes on both executors against `docker run --rm` of the same image, and 50 cold starts at once.

A part of script/bench; alone: `.venv/bin/python script/bench_docker.py`. Uses the stand-in images of the tests; skipped where no
engine answers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import boto3

BUILD = Path(__file__).parent.parent / "tests" / "images" / "build.py"
AT_ONCE = 50


def costs(bench: ModuleType, requests: int, repeat: int) -> None:
    """Print the rows."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True, check=False).returncode:
        bench.row("p  containers", "no Docker engine")
        return
    subprocess.run([sys.executable, str(BUILD)], check=True, stdout=subprocess.DEVNULL)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    image = f"public.ecr.aws/lambda/{python.replace('python', 'python:')}"
    command = [docker, "run", "--rm", "--entrypoint", "/var/lang/bin/python3", image, "-c"]
    a = bench.command_time(
        [*command, "import sys; sys.path.insert(0, '/var/runtime'); import awslambdaric.bootstrap"], repeat
    )
    bench.row("p  docker run --rm, import awslambdaric", bench.ms(a))
    for executor in ("process", "docker"):
        with bench.gateway("--executor", executor, "--host-adapter", "bare") as (port, _, _):
            client = boto3.client(
                "lambda", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
                aws_access_key_id="test", aws_secret_access_key="test",
            )  # fmt: skip
            _, cold = bench.cold(client, port, python, repeat)
            bench.row(f"q  cold Invoke, {executor}", bench.ms(cold), f"q/p = {cold / a:.2f}")
            bench.deploy(client, "warm", python)
            invoke = bench.post(bench.invoke_path("warm"), port)
            bench.load(port, invoke, 200, 1)
            times, rate = bench.load(port, invoke, requests, 1)
            bench.row(f"r  warm Invoke, {executor}, p50", bench.ms(bench.percentile(times, 0.5)), f"{rate:,.0f} /s")
            started = time.perf_counter()
            burst = bench.burst(client, port, python, AT_ONCE)
            bench.row(f"u  {AT_ONCE} cold environments at once, {executor}", bench.ms(burst))
        stopped = time.perf_counter() - started - burst - bench.HOLD_S
        bench.row(f"   … deployed and all of it gone again in, {executor}", bench.ms(stopped))
    left = subprocess.run([docker, "ps", "-aq"], capture_output=True, text=True, check=True).stdout.split()
    bench.row("   containers left", f"{len(left):5}")


if __name__ == "__main__":
    import bench as own

    costs(own, 1000, 7)
