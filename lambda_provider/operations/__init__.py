"""What each operation of the API does, one module an area of it.

`base` is what they share; `transitions` takes versions from Pending to Active; `code`, `configuration` and `payload` know the
rules for what a request carries. An operation itself is short: look up, check, change within a unit of work, describe.
"""
