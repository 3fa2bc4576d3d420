"""Real brokers: a node of Debian's RabbitMQ, and ActiveMQ with a MongoDB-compatible server in one process of Java.

`apt-get install rabbitmq-server` and `script/java-brokers` bring them. All keep their data in memory or in a temporary folder,
listen on the loopback interface on free ports, and are killed at the end.

No registry has MongoDB itself. The server here, mongo-java-server, is a reimplementation: it has resumable change streams of
collections, and shapes of changes that are MongoDB's for inserts; for the others the unit tests have changes as MongoDB
documents them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import pwd
import selectors
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from .machine import free_ports

ROOT = Path(__file__).parents[2]
JAVA_HOME = ROOT / ".cache" / "java-brokers"
START_S = 90.0
USER, PASSWORD = "alice", "in wonderland/@:?"

T = TypeVar("T")


def why_no_rabbitmq() -> str | None:
    """Why there is no RabbitMQ here, or None."""
    if not _rabbitmq_servers() or shutil.which("epmd") is None:
        return "there is no RabbitMQ; on Debian and Ubuntu: apt-get install rabbitmq-server"
    return None


def why_no_java_brokers() -> str | None:
    """Why there is neither ActiveMQ nor a MongoDB-compatible server here, or None."""
    if shutil.which("javac") is None:
        return "there is no Java"
    if not (JAVA_HOME / "version").exists():
        return "script/java-brokers has not been run, or could not fetch them"
    return None


class RabbitMq:
    """A node with the virtual hosts `/` and `orders`, and the user `USER`. `url` says where it is, without credentials.

    `tls_url` is the same by TLS, with a `certificate` that it signed itself.
    """

    def __init__(self) -> None:
        self.port, tls_port, epmd_port, distribution_port = free_ports(4)
        self.url = f"amqp://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))
        certificate, key = make_certificate(self._folder)
        self.tls_url = f"amqps://127.0.0.1:{tls_port}"
        self.certificate = certificate
        user = "nobody" if os.getuid() == 0 else None
        (self._folder / "definitions.json").write_text(json.dumps(_definitions()))
        (self._folder / "rabbit.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"listeners.ssl.1 = 127.0.0.1:{tls_port}\n"
            f"ssl_options.cacertfile = {certificate}\n"
            f"ssl_options.certfile = {certificate}\n"
            f"ssl_options.keyfile = {key}\n"
            f"load_definitions = {self._folder}/definitions.json\n"
        )
        if user is not None:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
            "RABBITMQ_NODENAME": f"tests-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": f"{self._folder}/data",
            "RABBITMQ_LOG_BASE": f"{self._folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{self._folder}/rabbit",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{self._folder}/none",
            "RABBITMQ_CONF_ENV_FILE": f"{self._folder}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self._folder}/none",
            "RABBITMQ_PID_FILE": f"{self._folder}/pid",
        }
        # A daemon of the names of nodes would outlive them, so this one is our child.
        self._names = subprocess.Popen(["epmd"], env=environment, user=user, stderr=subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [_rabbitmq_servers()[-1]],
            env=environment,
            user=user,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            read_until(self._process, "Starting broker... completed")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it: nothing of it is wanted."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()
        self._names.kill()
        self._names.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def use(self, work: Callable[[Any], Awaitable[T]], virtual_host: str = "/") -> T:
        """What a coroutine makes of a channel."""
        import aiormq
        from yarl import URL

        async def run() -> T:
            path = "" if virtual_host == "/" else virtual_host
            url = URL(f"{self.url}/{path}").with_user(USER).with_password(PASSWORD)
            connection = await aiormq.connect(url)
            try:
                return await work(await connection.channel())
            finally:
                await connection.close()

        return asyncio.run(run())

    def declare(self, queue: str, virtual_host: str = "/", **arguments: Any) -> str:
        """Make a durable queue."""
        self.use(lambda channel: channel.queue_declare(queue, durable=True, arguments=arguments), virtual_host)
        return queue

    def send(self, queue: str, bodies: Iterable[str | bytes], virtual_host: str = "/", **properties: Any) -> None:
        """Publish, and return when the broker has everything."""
        from pamqp.commands import Basic

        async def publish(channel: Any) -> None:
            sent = [
                channel.basic_publish(
                    body.encode() if isinstance(body, str) else body,
                    routing_key=queue,
                    properties=Basic.Properties(**properties),
                )
                for body in bodies
            ]
            await asyncio.gather(*sent)

        self.use(publish, virtual_host)

    def waiting(self, queue: str, virtual_host: str = "/") -> int:
        """How many messages nobody has."""
        declared = self.use(lambda channel: channel.queue_declare(queue, passive=True), virtual_host)
        return int(declared.message_count)


class JavaBrokers:
    """ActiveMQ (`activemq_url`, user `USER`) and a MongoDB-compatible server that knows no users (`mongodb_url`).

    `activemq_tls_url` is ActiveMQ by TLS, with a `certificate` that it signed itself.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="java-brokers-"))
        self.certificate, key = make_certificate(self._folder)
        store = self._folder / "store.p12"
        files = ["-in", str(self.certificate), "-inkey", str(key), "-out", str(store)]
        subprocess.run(["openssl", "pkcs12", "-export", *files, "-passout", "pass:changeit"], check=True)
        source = Path(__file__).parent / "java_brokers" / "Brokers.java"
        options = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"]
        self._process = subprocess.Popen(
            ["java", *options, "-cp", f"{JAVA_HOME}/lib/*", str(source), USER, PASSWORD, str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            ready = read_until(self._process, "ready ")
        except BaseException:
            self.stop()
            raise
        _, mongodb, activemq, activemq_tls = ready.split()
        self.mongodb_url = f"mongodb://127.0.0.1:{mongodb}/?directConnection=true"
        self.activemq_port = int(activemq)
        self.activemq_url = f"stomp://127.0.0.1:{activemq}"
        self.activemq_tls_url = f"stomp+ssl://127.0.0.1:{activemq_tls}"

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def send(self, queue: str, bodies: Iterable[str | bytes], **headers: str) -> None:
        """Send messages to a queue of ActiveMQ: texts, and bytes as such."""
        with self._stomp() as connection:
            for body in bodies:
                size = {"content-length": str(len(body))} if isinstance(body, bytes) else {}
                connection.send(f"/queue/{queue}", body, headers={**headers, **size})

    def receive(self, queue: str, count: int) -> list[Any]:
        """So many messages of a queue of ActiveMQ, as frames."""
        import queue as queues

        import stomp

        found: queues.Queue[Any] = queues.Queue()

        class Listener(stomp.ConnectionListener):  # type: ignore[misc]
            def on_message(self, frame: Any) -> None:
                found.put(frame)

        with self._stomp(Listener()) as connection:
            connection.subscribe(f"/queue/{queue}", "1", ack="auto")
            return [found.get(timeout=30) for _ in range(count)]

    @contextlib.contextmanager
    def _stomp(self, listener: Any = None) -> Any:
        import stomp

        connection = stomp.StompConnection12(
            [("127.0.0.1", self.activemq_port)], auto_content_length=False, auto_decode=False
        )
        if listener is not None:
            connection.set_listener("", listener)
        connection.connect(USER, PASSWORD, wait=True)
        with connection:  # Leaving it waits until everything has arrived.
            yield connection

    def database(self) -> Any:
        """A database of the MongoDB-compatible server."""
        import pymongo

        return pymongo.MongoClient(self.mongodb_url).shop


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """The line of a process's output in which a text is; fails with what was printed instead."""
    assert process.stdout is not None
    printed = ""
    with selectors.DefaultSelector() as selector:
        os.set_blocking(process.stdout.fileno(), False)
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(START_S):
            part = os.read(process.stdout.fileno(), 65536).decode(errors="replace")
            printed += part
            for line in printed.splitlines():
                if text in line and printed.endswith("\n"):
                    return line
            if not part:
                break
    raise RuntimeError(f"it did not start: {printed[-2000:]}")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([*request, *files], check=True, capture_output=True)
    return certificate, key


def _rabbitmq_servers() -> list[str]:
    # Debian's own command insists on a user of the package's.
    return sorted(str(path) for path in Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))


def _definitions() -> dict[str, Any]:
    salt = os.urandom(4)
    hashed = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    hosts = ["/", "orders"]
    every = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "vhosts": [{"name": host} for host in hosts],
        "users": [
            {
                "name": USER,
                "password_hash": hashed,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
        ],
        "permissions": [{"user": USER, "vhost": host, **every} for host in hosts],
    }
