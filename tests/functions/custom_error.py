class CustomException(Exception):
    """Raised by the handler, on line 6."""


def handler(event, context):
    raise CustomException("some error occurred")
