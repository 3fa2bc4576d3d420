"""HTTP to operation and back: routing, parsing, serialising, errors, event streams; compiled once from the model.

`dispatcher` ties the parts together as `LambdaWire`; `http` is what a server in front has to speak. Constraints of the model are
`lambda_provider.validation`'s, behaviour is the provider's.
"""

from lambda_provider.wire.dispatcher import Asker, LambdaWire
from lambda_provider.wire.http import HttpRequest, HttpResponse
from lambda_provider.wire.parser import MAX_JSON_BODY_BYTES

__all__ = ["MAX_JSON_BODY_BYTES", "Asker", "HttpRequest", "HttpResponse", "LambdaWire"]
