"""Kill a gateway at random moments, and look after each restart whether it kept what it had acknowledged.

Each client changes functions and resources of its own and keeps a model of them; a change that was under way at a kill may be
made or not, every other one must be there, once. All clients send asynchronous events; each that was accepted must have been
delivered at least once in the end, those that a function failed on too. Prints figures; the exit status is 1 if something is
wrong.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from crashtest_model import Client, Wrong, connect, deploy_sinks
from crashtest_witness import Witness

CLOCK_RATE = 600
"""A minute of a retry is a tenth of a second."""


class Gateway:
    """The gateway that is killed, on one state directory; each start has a log of its own that is shown if something is wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self.starts_s: list[float] = []
        (folder / "tmp").mkdir()

    def launch(self) -> None:
        """Begin to start."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMBDA_"))}
        environment |= {
            "TMPDIR": str(self.folder / "tmp"),
            "LAMBDA_SETTLE_MS": "0",
            "LAMBDA_CLOCK_RATE": str(CLOCK_RATE),
        }
        command = [sys.executable, "-m", "lambda_provider.cli", "start", "--port", "0", "--log-level", "warning"]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--state-dir", str(self.folder / "state")],
                stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
            )  # fmt: skip

    def await_ready(self) -> None:
        """Raises Wrong with the log if it does not start."""
        started = time.perf_counter()
        found = re.search(r"http://[\d.]+:\d+", self.process.stdout.readline())
        if found is None:
            raise Wrong(f"the gateway did not start:\n{(self.folder / 'log').read_text()}")
        self.url = found[0]
        self.starts_s.append(time.perf_counter() - started)

    def kill(self) -> None:
        """SIGKILL; nothing if it is not there."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process.stdout.close()


def work_until_killed(gateway: Gateway, clients: list[Client], moment_s: float) -> None:
    """Let the clients work, and kill the gateway after that time."""
    timer = threading.Timer(moment_s, gateway.kill)
    with ThreadPoolExecutor(len(clients)) as threads:
        working = [threads.submit(client.work, gateway.url) for client in clients]
        timer.start()
        for each in working:
            each.result()
    timer.join()


def verify(gateway: Gateway, clients: list[Client]) -> None:
    """Compare everything with what the clients know. Raises Wrong."""
    with ThreadPoolExecutor(len(clients)) as threads:
        for each in [threads.submit(client.verify, gateway.url) for client in clients]:
            each.result()


def run(options: argparse.Namespace, gateway: Gateway) -> None:
    """Raises Wrong."""
    chosen = random.Random(options.seed)
    began = time.perf_counter()
    kills = early = 0
    with Witness() as witness:
        clients = [Client(number, random.Random(chosen.random()), witness.port) for number in range(options.clients)]

        def total(figure: str) -> int:
            return sum(getattr(client, figure) for client in clients)

        gateway.launch()
        gateway.await_ready()
        deploy_sinks(connect(gateway.url), witness.port)
        while True:
            work_until_killed(gateway, clients, chosen.uniform(0.02, options.seconds))
            kills += 1
            while kills < options.kills and chosen.random() < 0.2:
                # While it starts, or brings back what it has.
                gateway.launch()
                if chosen.random() < 0.5:
                    gateway.await_ready()
                time.sleep(chosen.uniform(0, 0.4))
                gateway.kill()
                kills += 1
                early += 1
            gateway.launch()
            gateway.await_ready()
            verify(gateway, clients)
            if options.verbose:
                print(f"{kills} kills, {total('acknowledged'):,} changes", flush=True)
            if kills >= options.kills:
                break
        sent = set().union(*(client.events for client in clients))
        missing = witness.await_all(sent, options.patience)
        gateway.stop()
        seen = witness.counts
        sizes = [path.stat().st_size for path in (gateway.folder / "state").rglob("*") if path.is_file()]
        rows = {
            "kills with SIGKILL": f"{kills:,}, of them {early:,} during a start",
            "changes acknowledged": f"{total('acknowledged'):,}",
            "  under way at a kill": f"{total('uncertain'):,}, of them {total('made'):,} made",
            "  refused, for another change was going on": f"{total('refused'):,}",
            "  missing or doubled after a restart": "0",
            "looks at all resources": f"{total('looks'):,}",
            "events acknowledged": f"{len(sent):,}",
            "  delivered": f"{len(sent) - len(missing):,}",
            "  delivered again": f"{sum(seen[event] > witness.wanted(event) for event in sent):,}",
            "  missing": f"{len(missing):,}",
            "start to ready": f"median {statistics.median(gateway.starts_s):.2f} s, longest {max(gateway.starts_s):.2f} s",
            "state directory at the end": f"{sum(sizes) / 2**20:.1f} MiB in {len(sizes):,} files",
            "duration": f"{time.perf_counter() - began:.0f} s",
        }
        for what, value in rows.items():
            print(f"{what:<46} {value}")
        if missing:
            raise Wrong(f"events that were accepted and not delivered: {sorted(missing)[:20]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=120, help="(default %(default)s)")
    parser.add_argument("--clients", type=int, default=6, help="that work at once (default %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="longest time from ready to a kill (default %(default)s)"
    )
    parser.add_argument(
        "--patience", type=float, default=60.0, help="seconds for the last events (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of all that is random")
    parser.add_argument("--verbose", action="store_true", help="a line for each restart")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="crashtest-"))
    gateway = Gateway(folder)
    try:
        run(options, gateway)
    except Wrong as wrong:
        print(f"WRONG (seed {options.seed}, files in {folder}): {wrong}", file=sys.stderr)
        return 1
    finally:
        gateway.kill()
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
