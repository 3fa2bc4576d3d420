"""What is stored: frozen dataclasses, one module a resource.

A change makes a new value; `lambda_provider.store` is the one place that puts it where readers find it. A value describes
itself in the shape that the API answers (`describe`), and `documents` turns it into JSON and back.
"""
