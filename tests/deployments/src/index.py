import json
import os
import socket

import shared


def handler(event, context):
    """Greets. Events with a port in them tell it there, so that who listens knows that they arrived."""
    greeting = shared.greet(os.environ["GREETED"])
    for record in event.get("Records", []):
        with socket.create_connection(("127.0.0.1", json.loads(record["body"])["port"])) as there:
            there.sendall(f"{greeting} by version {context.function_version}".encode())
    return {"greeting": greeting, "version": context.function_version}
