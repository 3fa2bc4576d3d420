"""The child process in which moto answers for every AWS service except Lambda. Moto is imported in it and nowhere else.

    python -m lambda_provider.hosts.moto_server LISTENER_FD LIFELINE_FD

The gateway made both descriptors. The listener is a bound TCP socket, so clients can connect before this process accepts.
The lifeline is one end of a socket pair: the line `ready` is written to it once requests are served, then the reports of
`moto_activity`; and when the gateway's end closes, for whatever reason, this process ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from lambda_provider.hosts import moto_activity, services
from lambda_provider.hosts.credentials import session_token_of
from lambda_provider.hosts.moto_buckets import address_buckets
from lambda_provider.hosts.moto_callers import account_for
from lambda_provider.hosts.moto_metrics import list_once, match_exactly
from lambda_provider.hosts.moto_signatures import with_authentication
from lambda_provider.hosts.services.answers import with_answers
from lambda_provider.hosts.services.api_requests import HEADERS, with_apis
from lambda_provider.hosts.services.awslambda import stand_in
from lambda_provider.hosts.services.link import request as current_request

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_MAX_DRAIN_BYTES = 64 * 1024 * 1024
_WRITE_TOGETHER_BYTES = 64 * 1024


class BoundedInput(io.RawIOBase):
    """The body of one request: reads end where the body ends, not where the connection does."""

    def __init__(self, stream: io.BufferedIOBase, length: int) -> None:
        self._stream = stream
        self._left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            return 0
        count = self._stream.readinto(memoryview(buffer)[: self._left])
        if not count:
            raise ConnectionResetError("the request body ended early")
        self._left -= count
        return int(count)


class MotoHandler(MotoRequestHandler):
    """Serves WSGI over connections that stay open, and tells moto which account a request is for.

    Werkzeug's own handler closes the connection after every response; see docs/decisions/0001-moto-in-a-child-process.md.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def make_environ(self) -> dict[str, Any]:
        # http.server folds leading slashes of the path; in a virtual-host S3 request they belong to the key.
        self.path = self.requestline.split(" ")[1]
        environ = super().make_environ()
        if "wsgi.input_terminated" not in environ:
            environ["wsgi.input"] = BoundedInput(self.rfile, int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input_terminated"] = True
        query = environ["QUERY_STRING"]
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = account_for(
            environ.get("HTTP_AUTHORIZATION", ""),
            query,
            session_token_of(environ.get("HTTP_X_AMZ_SECURITY_TOKEN", ""), query),
            environ.get("HTTP_X_MOTO_ACCOUNT_ID"),
        )
        environ[HEADERS] = self.headers.items()
        current_request.trace_header = environ.get("HTTP_X_AMZN_TRACE_ID")
        return environ

    def run_wsgi(self) -> None:
        try:
            environ = self.make_environ()
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            status, headers, chunks = self._call(environ)
            self._send(status, headers, chunks)
            self._drain(environ["wsgi.input"])
        except OSError:
            # The client is gone, or sent less than it promised: nobody is left to tell.
            self.close_connection = True

    def _call(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            started[:] = [(status, headers)]
            return None

        try:
            chunks = self.server.app(environ, start_response)
            return (*started[0], chunks)
        except OSError:
            raise
        except Exception as error:  # The edge of the process: whatever moto raises becomes an answer.
            logger.exception("moto failed at %s %s", self.command, self.path)
            missing = isinstance(error, NotImplementedError)
            code = HTTPStatus.NOT_IMPLEMENTED if missing else HTTPStatus.INTERNAL_SERVER_ERROR
            text = f"moto could not answer: {type(error).__name__}: {error}".encode()
            return f"{code.value} {code.phrase}", [("Content-Type", "text/plain; charset=utf-8")], [text]

    def _send(self, status: str, headers: list[tuple[str, str]], chunks: Iterable[bytes]) -> None:
        code = int(status.split(None, 1)[0])
        names = {name.lower() for name, _ in headers}
        bodyless = self.command == "HEAD" or code < 200 or code in (204, 304)
        with contextlib.closing(cast(Any, chunks)) if hasattr(chunks, "close") else contextlib.nullcontext():
            if not bodyless and "content-length" not in names and isinstance(chunks, list | tuple):
                headers = [*headers, ("Content-Length", str(sum(map(len, chunks))))]
            chunked = not bodyless and not any(name.lower() == "content-length" for name, _ in headers)
            if chunked:
                headers = [*headers, ("Transfer-Encoding", "chunked")]
            if self.close_connection:
                headers = [*headers, ("Connection", "close")]
            lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers), "", ""]
            pending = bytearray("\r\n".join(lines).encode("latin-1"))
            for chunk in () if bodyless else chunks:
                if chunk:
                    pending += b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
                if len(pending) > _WRITE_TOGETHER_BYTES:
                    self.wfile.write(pending)
                    pending = bytearray()
            self.wfile.write(pending + b"0\r\n\r\n" if chunked else pending)

    def _drain(self, body: Any) -> None:
        """Read what moto left of the body, so that the next request on this connection starts where it starts."""
        drained = 0
        while not self.close_connection and (data := body.read(64 * 1024)):
            drained += len(data)
            if drained > _MAX_DRAIN_BYTES:
                self.close_connection = True

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        logger.debug('"%s" %s', self.requestline, code)


def create_app(service: Any) -> Any:
    """Moto's application for one service, made at the first request for it."""
    if service == "s3":
        address_buckets()
    elif service == "cloudwatch":
        match_exactly()
        list_once()
    services.install(service)
    return create_backend_app(service)


def die_with_the_gateway(lifeline: socket.socket) -> None:
    """End this process when the gateway's end of `lifeline` closes; on Linux the kernel sees to it even earlier."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while lifeline.recv(1024):
                pass
        os._exit(0)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def main(arguments: list[str]) -> None:
    """Serve on the given listener until the lifeline ends."""
    listener_fd, lifeline_fd = int(arguments[0]), int(arguments[1])
    os.set_inheritable(listener_fd, False)
    os.set_inheritable(lifeline_fd, False)
    logging.basicConfig(format="%(asctime)s %(levelname)s moto: %(message)s")
    lifeline = socket.socket(fileno=lifeline_fd)
    die_with_the_gateway(lifeline)
    # Moto's environment variable for the account would win over the account of each request.
    os.environ.pop("MOTO_ACCOUNT_ID", None)
    stand_in()
    reporter = moto_activity.Reporter(lifeline)

    def create_reporting_app(service: Any) -> Any:
        application = create_app(service)
        moto_activity.install(service, reporter.report)
        return application

    server = make_server(
        "127.0.0.1",
        0,
        with_apis(with_answers(with_authentication(DomainDispatcherApplication(create_reporting_app)))),
        threaded=True,
        request_handler=MotoHandler,
        fd=listener_fd,
    )
    lifeline.sendall(b"ready\n")
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
