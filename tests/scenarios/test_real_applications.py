"""Applications as people deploy them, with the frameworks they use, behind function URLs and by Invoke."""

from __future__ import annotations

import json

import pytest

from . import packages
from .rendezvous import Rendezvous
from .urls import call, give_url, opened

pytestmark = pytest.mark.scenario

FASTAPI = """
from fastapi import FastAPI, Form, Query, Request, Response
from mangum import Mangum
from pydantic import BaseModel

app = FastAPI(title="Shop")

class Item(BaseModel):
    name: str
    price: float

@app.get("/items/{item_id}")
def read(item_id: int, tag: list[str] = Query(default=[])):
    return {"id": item_id, "tags": tag}

@app.post("/items", status_code=201)
def create(item: Item):
    return {"name": item.name.upper(), "price": item.price}

@app.get("/login")
def login(response: Response):
    response.set_cookie("session", "abc", httponly=True)
    response.set_cookie("theme", "dark")
    return "ok"

@app.get("/request")
async def show(request: Request):
    return {"url": str(request.url), "client": request.client.host, "cookies": request.cookies}

@app.get("/image")
def image():
    return Response(bytes(range(256)), media_type="image/png")

@app.get("/broken")
def broken():
    raise RuntimeError("broken")

handler = Mangum(app, lifespan="off")
"""

POWERTOOLS = """
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(service="shop")
metrics = Metrics(namespace="Shop", service="shop")
app = LambdaFunctionUrlResolver()

@app.get("/orders/<order_id>")
def read(order_id: str):
    if order_id == "none":
        raise NotFoundError("no such order")
    metrics.add_metric(name="OrdersRead", unit=MetricUnit.Count, value=1)
    logger.info("read an order", order_id=order_id)
    return {"id": order_id, "verbose": app.current_event.get_query_string_value("verbose")}

@app.post("/orders")
def create():
    return {"created": app.current_event.json_body["name"]}, 201

@logger.inject_lambda_context(correlation_id_path=correlation_paths.LAMBDA_FUNCTION_URL)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event, context):
    return app.resolve(event, context)
"""

HONO = """
import net from 'node:net';
import { Hono } from 'hono';
import { handle, streamHandle } from 'hono/aws-lambda';
import { setCookie } from 'hono/cookie';
import { streamText } from 'hono/streaming';

const app = new Hono();
const meet = (port) => new Promise((resolve) => {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('data', () => socket.end(resolve));
});
app.get('/stream/:port', (c) => streamText(c, async (stream) => {
  await stream.write('one');
  await meet(Number(c.req.param('port')));
  await stream.write('two');
}));
app.post('/json', async (c) => {
  setCookie(c, 'a', 'b');
  setCookie(c, 'c', 'd');
  return c.json({ got: await c.req.json(), query: c.req.queries('x') }, 201, { 'x-hono': 'yes' });
});
app.notFound((c) => c.text('nothing here', 404));

export const handler = streamHandle(app);
export const buffered = handle(app);
"""

MIDDY = """
import middy from '@middy/core';
import httpErrorHandler from '@middy/http-error-handler';
import httpHeaderNormalizer from '@middy/http-header-normalizer';
import httpJsonBodyParser from '@middy/http-json-body-parser';
import createError from 'http-errors';

export const handler = middy()
  .use(httpHeaderNormalizer())
  .use(httpJsonBodyParser({ disableContentTypeError: false }))
  .use(httpErrorHandler({ logger: false }))
  .handler(async (event) => {
    if (!event.body.name) throw createError(422, 'name is missing');
    return { statusCode: 200, headers: { 'Content-Type': 'text/plain' }, body: `Hello ${event.body.name}` };
  });
"""


def event(method: str, path: str, query: str = "", body: str | None = None, **headers: str) -> dict:
    """Payload format 2.0 as a test of such an application writes it by hand."""
    made = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "example.lambda-url.us-east-1.on.aws", **headers},
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "example",
            "domainName": "example.lambda-url.us-east-1.on.aws",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "1.2.3.4", "userAgent": ""},
            "requestId": "some-id",
            "stage": "$default",
        },
        "isBase64Encoded": False,
    }
    return made if body is None else {**made, "body": body}


def sent(value) -> dict:
    return {"method": "POST", "body": json.dumps(value), "headers": {"Content-Type": "application/json"}}


@pytest.fixture
def client(aws_client):
    return aws_client("lambda")


# --- FastAPI with Mangum


@pytest.fixture
def fastapi(deploy, tmp_path) -> str:
    found = packages.python_packages("fastapi>=0.110,<1", "mangum>=0.17,<1", "aws-lambda-powertools>=3,<4")
    code = packages.package(found, {"index.py": FASTAPI}, tmp_path)
    return deploy(code, runtime=packages.PYTHON, Timeout=30, MemorySize=512)


def test_fastapi_behind_a_url(gateway, client, fastapi):
    url = give_url(client, fastapi)
    assert call(gateway, f"{url}items/5?tag=a&tag=b").json == {"id": 5, "tags": ["a", "b"]}
    created = call(gateway, f"{url}items", **sent({"name": "tea", "price": 2.5}))
    assert (created.status, created.json) == (201, {"name": "TEA", "price": 2.5})
    refused = call(gateway, f"{url}items", **sent({"name": "tea"}))
    assert (refused.status, refused.json["detail"][0]["loc"]) == (422, ["body", "price"])
    login = call(gateway, f"{url}login")
    assert [cookie.partition(";")[0] for cookie in login.cookies] == ["session=abc", "theme=dark"]
    shown = call(gateway, f"{url}request", headers={"Cookie": "session=abc; theme=dark"}).json
    assert shown == {
        "url": f"{url}request",
        "client": "127.0.0.1",
        "cookies": {"session": "abc", "theme": "dark"},
    }
    image = call(gateway, f"{url}image")
    assert (image.body, image.headers["content-type"]) == (bytes(range(256)), "image/png")
    assert call(gateway, f"{url}broken").status == 500
    assert call(gateway, f"{url}nowhere").status == 404
    assert call(gateway, f"{url}openapi.json").json["info"]["title"] == "Shop"


def test_fastapi_by_invoke(fastapi, result):
    answer = result(fastapi, event("GET", "/items/7", "tag=a"))
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"id": 7, "tags": ["a"]})


# --- Powertools for AWS Lambda


@pytest.fixture
def powertools(deploy, tmp_path) -> str:
    found = packages.python_packages("fastapi>=0.110,<1", "mangum>=0.17,<1", "aws-lambda-powertools>=3,<4")
    code = packages.package(found, {"index.py": POWERTOOLS}, tmp_path)
    return deploy(code, runtime=packages.PYTHON, Timeout=30, MemorySize=512)


def test_powertools_behind_a_url(gateway, client, powertools, aws_client):
    url = give_url(client, powertools)
    answer = call(gateway, f"{url}orders/17?verbose=1")
    assert (answer.status, answer.json) == (200, {"id": "17", "verbose": "1"})
    missing = call(gateway, f"{url}orders/none")
    assert (missing.status, missing.json) == (404, {"statusCode": 404, "message": "no such order"})
    created = call(gateway, f"{url}orders", **sent({"name": "tea"}))
    assert (created.status, created.json) == (201, {"created": "tea"})
    entries = _json_lines(aws_client, powertools)
    read = next(entry for entry in entries if entry.get("message") == "read an order")
    request_id = answer.headers["x-amzn-requestid"]
    assert read["function_request_id"] == read["correlation_id"] == request_id
    assert (read["function_name"], read["order_id"]) == (powertools, "17")
    assert (read["cold_start"], read["function_memory_size"]) == (True, "512")
    metric = next(entry for entry in entries if "OrdersRead" in entry)
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Shop"
    assert [entry["function_name"] for entry in entries if "ColdStart" in entry] == [powertools]


def _json_lines(aws_client, name: str) -> list[dict]:
    events = aws_client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    return [json.loads(each["message"]) for each in events if each["message"].startswith("{")]


def test_powertools_by_invoke(powertools, result):
    answer = result(powertools, event("POST", "/orders", body='{"name":"tea"}'))
    assert (answer["statusCode"], json.loads(answer["body"])) == (201, {"created": "tea"})


# --- Hono


@pytest.fixture
def hono(deploy, tmp_path):
    """`hono(handler)` deploys the application."""
    found = packages.node_packages("hono@4")

    def create(handler: str) -> str:
        code = packages.package(found, {"index.mjs": HONO}, tmp_path)
        return deploy(code, runtime="nodejs20.x", handler=f"index.{handler}", Timeout=30)

    return create


@pytest.mark.node
def test_hono_streams_behind_a_url(gateway, client, hono):
    url = give_url(client, hono("handler"), InvokeMode="RESPONSE_STREAM")
    with Rendezvous() as place, opened(gateway, f"{url}stream/{place.port}") as response:
        assert (response.status, response.headers["Content-Type"].lower()) == (200, "text/plain; charset=utf-8")
        assert response.read1() == b"one"
        place.await_guests(1)
        place.let_go()
        assert response.read() == b"two"
    answer = call(gateway, f"{url}json?x=1&x=2", **sent({"a": "ü"}))
    assert (answer.status, answer.headers["x-hono"]) == (201, "yes")
    assert answer.json["got"] == {"a": "ü"}
    assert [cookie.partition(";")[0] for cookie in answer.cookies] == ["a=b", "c=d"]
    missing = call(gateway, f"{url}nowhere")
    assert (missing.status, missing.body) == (404, b"nothing here")


@pytest.mark.node
def test_hono_streams_by_invoke(client, hono):
    with Rendezvous() as place:
        response = client.invoke_with_response_stream(
            FunctionName=hono("handler"), Payload=json.dumps(event("GET", f"/stream/{place.port}"))
        )
        assert response["ResponseStreamContentType"] == "application/vnd.awslambda.http-integration-response"
        events = iter(response["EventStream"])
        received = b""
        while not received.endswith(b"one"):
            received += next(events)["PayloadChunk"]["Payload"]
        metadata, _, body = received.partition(bytes(8))
        assert (json.loads(metadata)["statusCode"], body) == (200, b"one")
        place.await_guests(1)
        place.let_go()
        assert next(events)["PayloadChunk"]["Payload"] == b"two"


@pytest.mark.node
def test_hono_buffered(gateway, client, hono, result):
    name = hono("buffered")
    answer = result(name, event("POST", "/json", "x=1", '{"a":1}', **{"content-type": "application/json"}))
    assert (answer["statusCode"], json.loads(answer["body"])["got"]) == (201, {"a": 1})
    answer = call(gateway, f"{give_url(client, name)}json", **sent([1]))
    assert (answer.status, answer.json["got"]) == (201, [1])


# --- Middy


@pytest.fixture
def middy(deploy, tmp_path) -> str:
    names = ("core", "http-error-handler", "http-header-normalizer", "http-json-body-parser")
    found = packages.node_packages(*(f"@middy/{name}@6" for name in names), "http-errors@2")
    code = packages.package(found, {"index.mjs": MIDDY}, tmp_path)
    return deploy(code, runtime="nodejs20.x", Timeout=30)


@pytest.mark.node
def test_middy_behind_a_url(gateway, client, middy):
    url = give_url(client, middy)
    answer = call(gateway, url, **sent({"name": "you"}))
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, "text/plain", b"Hello you")
    missing = call(gateway, url, **sent({"other": 1}))
    assert (missing.status, missing.body) == (422, b"name is missing")
    assert call(gateway, url, "POST", "{}", {"Content-Type": "text/plain"}).status == 415


@pytest.mark.node
def test_middy_by_invoke(middy, result):
    answer = result(middy, event("POST", "/", body='{"name":"you"}', **{"content-type": "application/json"}))
    assert (answer["statusCode"], answer["body"]) == (200, "Hello you")
