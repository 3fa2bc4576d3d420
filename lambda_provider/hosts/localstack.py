"""LocalStack as the host: its gateway serves Lambda by us, with `PROVIDER_OVERRIDE_LAMBDA=lambda-provider`.

LocalStack finds us by entry points (the last lines of this module; docs/localstack.md) and calls from threads of its own;
provider and runtime live on an event loop in one thread of ours. LocalStack finds out the operation, account and region of a
request; the answer, errors included, is that of our own wire, as it stands. This is the only module that knows LocalStack, and it
can be imported without it: nothing of LocalStack is imported before LocalStack asks for us.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lambda_provider.asgi import INTERNAL_PREFIX
from lambda_provider.context import Caller
from lambda_provider.host import FunctionCredentials, HostBase, LogEvent, ServiceUnavailable
from lambda_provider.hosts.assembly import Assembly, assemble
from lambda_provider.hosts.internal import json_response
from lambda_provider.hosts.loop_thread import LoopThread
from lambda_provider.hosts.moto_sessions import RoleSessions
from lambda_provider.hosts.moto_signatures import LocalCallers
from lambda_provider.hosts.server import new_event_loop
from lambda_provider.hosts.telemetry import AlwaysThere, Telemetry
from lambda_provider.hosts.threaded_body import ThreadedBody
from lambda_provider.hosts.upstream import Upstream
from lambda_provider.urls.addresses import address_of
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.urls.serving import FunctionUrls
from lambda_provider.wire import MAX_JSON_BODY_BYTES, Asker, HttpRequest, HttpResponse
from lambda_runtime.scratch import Scratch

if TYPE_CHECKING:
    from localstack.aws.api import RequestContext
    from localstack.aws.chain import HandlerChain
    from localstack.http import Request, Response
    from localstack.services.plugins import Service

NAME = "lambda-provider"
"""The name of the provider in `PROVIDER_OVERRIDE_LAMBDA`."""

logger = logging.getLogger(__name__)

T = TypeVar("T")

_READS = ("Get", "Filter", "Describe", "List", "StartQuery")
_FLUSH_TIMEOUT_S = 10.0


class LocalStackHost(HostBase):
    """The Host protocol, spoken with LocalStack's framework. Settings are LocalStack's environment variables.

    `start` and `stop` are awaited on the runtime's loop. Raises LookupError outside of LocalStack.
    """

    name = "localstack"

    def __init__(self) -> None:
        super().__init__()
        if not self.settings.get("LOCALSTACK_INFRA_PROCESS"):
            raise LookupError(f"this host is loaded by LocalStack: start that, with PROVIDER_OVERRIDE_LAMBDA={NAME}")
        self._sessions = RoleSessions()

    async def start(self) -> None:
        """Be ready for the provider; telemetry lives on this loop from now on."""
        from localstack import config

        # Roles are assumed on the loop, where nothing may be imported that takes as long as this.
        await asyncio.to_thread(_prepare_sts)
        self._upstream = Upstream("127.0.0.1", config.GATEWAY_LISTEN[0].port)
        self.telemetry = Telemetry(AlwaysThere(), self._upstream)

    async def stop(self) -> None:
        """Let go of what is not delivered."""
        await self.telemetry.stop()
        self._upstream.close()

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        """LocalStack's own internal client, kept by LocalStack for the next caller."""
        from botocore.exceptions import UnknownServiceError
        from localstack.aws.connect import connect_to

        if not _offers(service):
            raise ServiceUnavailable(f"this LocalStack has no {service}: see SERVICES and /_localstack/health")
        try:
            return connect_to(aws_access_key_id=account_id, region_name=region).get_client(service)
        except UnknownServiceError as error:
            raise ServiceUnavailable(str(error)) from error

    def function_endpoint_url(self) -> str | None:
        """LocalStack's gateway by an address, or `LAMBDA_FUNCTION_ENDPOINT_URL`.

        By an address, because SDKs put a bucket's name before any other one; without TLS, which the gateway takes at the same
        port, because functions do not know its certificate.
        """
        from localstack import config

        url: str = config.internal_service_url(host="127.0.0.1", protocol="http")
        return super().function_endpoint_url() or url

    def issue_credentials(
        self, *, role_arn: str, account_id: str, region: str, session_name: str
    ) -> FunctionCredentials:
        """The role assumed in LocalStack's STS, whether it exists or not."""
        return self._sessions.assume(role_arn, region, session_name)

    def put_log_events(
        self, *, account_id: str, region: str, log_group: str, log_stream: str, events: Sequence[LogEvent]
    ) -> None:
        """Append to a stream of LocalStack's CloudWatch Logs, soon."""
        if _offers("logs"):
            self.telemetry.add_logs(account_id, region, log_group, log_stream, events)

    def put_metric_data(
        self, *, account_id: str, region: str, namespace: str, metrics: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record metrics in LocalStack's CloudWatch, soon."""
        if _offers("cloudwatch"):
            self.telemetry.add_metrics(account_id, region, namespace, metrics)


class LocalStackLambda:
    """What LocalStack calls: its service provider, the hooks of its life and of its state, and handlers of its gateway.

    Every method may be called from any thread. `start` may be called when it runs already, and `stop` twice; a stopped one can be
    started again.
    """

    service = "lambda"

    def __init__(self) -> None:
        self._thread: LoopThread | None = None
        self._scratch: Scratch | None = None
        self._assembly: Assembly | None = None
        self._rules: list[Any] = []

    def start(self) -> None:
        """Bring provider and runtime to life, and lead to us what the gateway gets for function URLs.

        Raises LookupError for an unknown executor, ValueError for a setting and StateError for a state that cannot be used.
        """
        if self._thread is not None:
            return
        thread = LoopThread("lambda-provider", new_event_loop)
        try:
            thread.run(self._start())
        except BaseException:
            thread.stop()
            raise
        self._thread = thread
        self._attach()

    def stop(self) -> None:
        """End every environment, timer, thread and route."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._detach()
        try:
            thread.run(self._stop())
        finally:
            thread.stop()

    @property
    def assembly(self) -> Assembly:
        """What was put together. Raises RuntimeError when the service was stopped."""
        if self._assembly is None:
            raise RuntimeError("Lambda was stopped")
        return self._assembly

    def dispatch_table(self) -> dict[str, Callable[[RequestContext, Any], Response]]:
        """What LocalStack's skeleton calls for each operation that LocalStack knows."""
        from localstack.aws.spec import load_service

        return dict.fromkeys(load_service(self.service).operation_names, self.answer)

    def answer(self, context: RequestContext, parsed: Any = None) -> Response:
        """Answer a request for the API, as it came; what LocalStack has parsed of it is not used."""
        from localstack.aws.api import CommonServiceException

        request = context.request
        headers = _joined(request)
        if request.scheme == "https":
            headers.setdefault("x-forwarded-proto", "https")
        asked = HttpRequest(request.method, _path(request), _query(request), headers, request.get_data())
        if len(asked.body) > MAX_JSON_BODY_BYTES:
            return self._response(self.assembly.wire.refuse_too_large(asked))
        asker = Asker(context.account_id, context.region, context.request_id, caller=_service_behind(context))
        answered = self._call(self.assembly.wire.handle(asked, asker))
        if answered.status >= 400 and isinstance(answered.body, bytes):
            # For LocalStack's log, its metrics, and handlers that others add to it.
            code = dict(answered.headers).get("x-amzn-ErrorType", "")
            told = json.loads(answered.body or b"{}")
            message = told.get("Message") or told.get("message") or ""
            context.service_exception = CommonServiceException(code, message, answered.status)
        return self._response(answered)

    def serve(self, request: Request, **_: str) -> Response:
        """Answer what LocalStack's router leads here: function URLs, and `/_lambda/`."""
        path = _path(request)
        address = address_of(request.host, path)
        if address is None:
            if path.startswith(f"{INTERNAL_PREFIX}code/"):
                return self._response(self.assembly.provider.download_code(path, _query(request)))
            return self._response(json_response(404, {"message": f"nothing at {path}"}))
        asked = UrlRequest(
            method=request.method,
            path=path,
            query=_query(request),
            headers=[(name.lower(), value) for name, value in request.headers],
            client=request.remote_addr or "127.0.0.1",
            scheme=request.scheme,
            protocol=request.environ.get("SERVER_PROTOCOL", "HTTP/1.1"),
        )
        asked.body = request.get_data()
        if len(asked.body) > self._urls.payload_limit:
            return self._response(self._urls.refuse_too_large())
        return self._response(self._call(self._urls.handle(address, asked)))

    # LocalStack's hooks

    def on_after_init(self) -> None:
        """LocalStack has loaded the provider."""

    def on_before_start(self) -> None:
        """The service is about to run, perhaps once more."""
        self.start()

    def on_before_stop(self) -> None:
        """LocalStack shuts down, or stops the service."""
        self.stop()

    def on_before_state_reset(self) -> None:
        """Everything is about to be forgotten. Let go of the directory, too: a visitor may empty it."""
        self.assembly.provider.on_before_state_load()

    def on_after_state_reset(self) -> None:
        """Forget what no visitor has deleted, and go on as new."""
        shutil.rmtree(self._state_dir, ignore_errors=True)
        self.assembly.provider.on_after_state_load()

    def on_before_state_save(self) -> None:
        """Visitors may copy the directory from now on."""
        self.assembly.provider.on_before_state_save()

    def on_after_state_save(self) -> None:
        """The directory is copied."""
        self.assembly.provider.on_after_state_save()

    def on_before_state_load(self) -> None:
        """A visitor is about to replace the directory."""
        self.assembly.provider.on_before_state_load()

    def on_after_state_load(self) -> None:
        """Go on with what is in the directory now."""
        self.assembly.provider.on_after_state_load()

    def accept_state_visitor(self, visitor: Any) -> None:
        """Show LocalStack's visitors the directory that holds all state."""
        from localstack.state import AssetDirectory

        self._state_dir.mkdir(parents=True, exist_ok=True)
        visitor.visit(AssetDirectory(self.service, self._state_dir))

    # Within

    async def _start(self) -> None:
        from localstack.aws.accounts import get_account_id_from_access_key_id

        self.host = LocalStackHost()
        await self.host.start()
        try:
            self._state_dir = self._choose_state_dir()
            executor = self.host.settings.get("LAMBDA_EXECUTOR") or "process"
            assembly = self._assembly = assemble(self.host, executor=executor, state_dir=self._state_dir)
            provider = assembly.provider
            callers = LocalCallers(get_account_id_from_access_key_id)
            self._urls = FunctionUrls(provider.store, provider, callers, provider.config.payload_size)
            self.host.telemetry.on_read.append(assembly.runtime.deliver_telemetry)
            self.host.telemetry.on_read.append(provider.event_sources.deliver_telemetry)
            await assembly.start()
        except BaseException:
            await self._stop()
            raise

    async def _stop(self) -> None:
        if self._assembly is not None:
            await self._assembly.stop()
        await self.host.stop()
        if self._scratch is not None:
            await asyncio.to_thread(self._scratch.remove)
        self._assembly = self._scratch = None

    def _choose_state_dir(self) -> Path:
        from localstack import config

        if config.PERSISTENCE:
            return Path(config.dirs.data) / self.service
        self._scratch = Scratch()
        return self._scratch.directory("state")

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """What the coroutine returns on the loop. Raises what it raises, and RuntimeError when the service was stopped."""
        if self._thread is None:
            work.close()
            raise RuntimeError("Lambda was stopped")
        return self._thread.run(work, timeout_s)

    def _attach(self) -> None:
        from localstack.aws import handlers
        from localstack.runtime.shutdown import SHUTDOWN_HANDLERS
        from localstack.services.edge import ROUTER

        hosts = {"host": "<regex('[^.]+'):url_id>.lambda-url.<regex('.+'):domain>"}
        for path, options in (("/<greedy_path:path>", hosts), (f"{INTERNAL_PREFIX}<greedy_path:path>", {})):
            self._rules.append(ROUTER.add(path, self.serve, merge_slashes=False, **options))
        SHUTDOWN_HANDLERS.register(self._end_deliveries)
        handlers.preprocess_request.append(self._route_function_urls)
        handlers.serve_custom_service_request_handlers.append(self._before_reading)

    def _detach(self) -> None:
        from localstack.aws import handlers
        from localstack.runtime.shutdown import SHUTDOWN_HANDLERS
        from localstack.services.edge import ROUTER

        ROUTER.remove(self._rules)
        self._rules.clear()
        SHUTDOWN_HANDLERS.unregister(self._end_deliveries)
        handlers.preprocess_request.remove(self._route_function_urls)
        handlers.serve_custom_service_request_handlers.remove(self._before_reading)

    def _route_function_urls(self, chain: HandlerChain, context: RequestContext, response: Response) -> None:
        """Ask LocalStack's router before LocalStack looks at origins, preflights and encodings: a URL has its own rules."""
        from localstack.services.edge import ROUTER

        if address_of(context.request.host, _path(context.request)) is not None:
            response.update_from(ROUTER.dispatch(context.request))
            chain.terminate()

    def _before_reading(self, chain: HandlerChain, context: RequestContext, response: Response) -> None:
        """Who reads logs or metrics sees those of a moment ago."""
        operation = context.service_operation
        if operation and operation.service in ("logs", "cloudwatch") and operation.operation.startswith(_READS):
            try:
                self._call(self.host.telemetry.flush_for_reader(), _FLUSH_TIMEOUT_S)
            except TimeoutError:
                logger.warning("logs and metrics of functions were not delivered in %d s", _FLUSH_TIMEOUT_S)

    def _end_deliveries(self) -> None:
        """LocalStack is about to stop its services: one that a request of ours reaches after that would start again."""
        self._call(self.host.telemetry.end(), _FLUSH_TIMEOUT_S)

    def _response(self, answered: HttpResponse) -> Response:
        from localstack.http import Response

        body = answered.body if isinstance(answered.body, bytes) else ThreadedBody(answered.body, self._call)
        response = Response(body, answered.status)
        response.headers.clear()
        response.headers.extend(answered.headers)
        return response


def _prepare_sts() -> None:
    """Load it, and have it issue access keys in which LocalStack finds the account, although nobody asked for STS yet."""
    import moto.sts.models  # noqa: F401
    from localstack.services.iam.iam_patches import apply_iam_patches

    apply_iam_patches()


def _offers(service: str) -> bool:
    from localstack.services.plugins import SERVICE_PLUGINS
    from localstack.utils.bootstrap import is_api_enabled

    return bool(SERVICE_PLUGINS.exists(service) and is_api_enabled(service))


def _service_behind(context: RequestContext) -> Caller | None:
    """The AWS service that calls, when one of LocalStack's says so."""
    said = context.internal_request_params or {}
    principal = said.get("service_principal")
    if not principal:
        return None
    domain = "" if "." in principal else ".amazonaws.com"
    arn = said.get("source_arn")
    # The ARN of a bucket does not tell whose it is.
    account = (arn or "").split(":")[4:5]
    return Caller(
        service=f"{principal}{domain}", source_arn=arn, source_account=(account and account[0]) or context.account_id
    )


def _path(request: Request) -> str:
    from localstack.http.request import get_raw_path

    path: str = get_raw_path(request)
    return path


def _query(request: Request) -> str:
    query: bytes = request.query_string
    return query.decode("latin-1")


def _joined(request: Request) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in request.headers:
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


# What LocalStack loads


def _create_service() -> Service:
    from localstack.services.plugins import Service

    service = LocalStackLambda()
    # Not in a hook: LocalStack would only log what it raises.
    service.start()
    return Service.for_provider(
        service, dispatch_table_factory=LocalStackLambda.dispatch_table, service_lifecycle_hook=service
    )


def _chosen() -> bool:
    from localstack.services.plugins import SERVICE_PLUGINS

    return bool(SERVICE_PLUGINS.get_active_provider("lambda") == NAME)


def _take_what_it_cannot_parse() -> None:
    """When LocalStack starts: requests of ours that its model has no operation for are answered all the same."""
    from localstack.aws import handlers
    from localstack.services.plugins import SERVICE_PLUGINS

    def answer(chain: HandlerChain, context: RequestContext, response: Response) -> None:
        if context.operation is None:
            provider: LocalStackLambda = SERVICE_PLUGINS.require("lambda").lifecycle_hook
            response.headers.clear()
            response.update_from(provider.answer(context))

    handlers.modify_service_response.append("lambda", answer)


def _restore() -> None:
    """When LocalStack is ready: with `PERSISTENCE=1` what was there goes on before anybody asks for it."""
    from localstack import config
    from localstack.services.plugins import SERVICE_PLUGINS

    if config.PERSISTENCE and (Path(config.dirs.data) / "lambda").is_dir():
        try:
            SERVICE_PLUGINS.require("lambda")
        except Exception:
            # The other services are none the worse, and requests for Lambda are answered with the same error.
            logger.exception("what was stored of Lambda does not come back")


def __getattr__(name: str) -> Any:
    """The plugins, made when LocalStack's loader asks for them by their names in the entry points."""
    if name == "provider":
        from localstack.services.plugins import aws_provider

        return aws_provider(api="lambda", name=NAME)(_create_service)
    if name in ("take_what_it_cannot_parse", "restore"):
        from localstack.runtime import hooks

        hook = hooks.on_infra_ready if name == "restore" else hooks.on_infra_start
        return hook(name="lambda_provider", should_load=_chosen)(
            _restore if name == "restore" else _take_what_it_cannot_parse
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
