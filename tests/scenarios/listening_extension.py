"""An extension that listens for telemetry, and notes in /tmp/told, where its function can read it, whatever it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NOTES = """
import pathlib
def handler(event, context):
    notes = pathlib.Path("/tmp/told")
    return notes.read_text().split() if notes.exists() else []
"""
LISTENS = """#!/usr/bin/env python3
import http.server, json, os, threading, urllib.request

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}"

def note(*words):
    with open("/tmp/told", "a") as notes:
        print(*words, file=notes)

def ask(path, body=None, method=None, **headers):
    request = urllib.request.Request(f"{API}/{path}", body, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, answer.read()

class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        note(*(each["type"] for each in json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass

name = os.path.basename(__file__)
headers, _ = ask("2020-01-01/extension/register", b'{"events": ["INVOKE"]}', **{"Lambda-Extension-Name": name})
own = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
server = http.server.HTTPServer(("sandbox.localdomain", 4243), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
wanted = {"schemaVersion": "2022-07-01", "types": ["platform"], "buffering": {"timeoutMs": 25}}
wanted["destination"] = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}
ask("2022-07-01/telemetry", json.dumps(wanted).encode(), "PUT", **own)
while True:
    note(json.loads(ask("2020-01-01/extension/event/next", **own)[1])["eventType"])
"""


def layer(client: Any, zip_of: Callable[..., bytes]) -> str:
    """Publish it as a layer; its ARN."""
    archive = zip_of({"extensions/listens": LISTENS}, executable=("extensions/listens",))
    answer = client.publish_layer_version(LayerName="listens", Content={"ZipFile": archive})
    return str(answer["LayerVersionArn"])
