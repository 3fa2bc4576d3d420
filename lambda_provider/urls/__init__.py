"""Function URLs as they are called: an HTTP request becomes an event, what the function answers an HTTP response.

`serving` is the way of a request; `addresses` says whose it is, `access` who may, `signatures` who asks, `cors` what browsers
are told, `events` makes the event, `responses` and `prelude` read the answer. URLs as resources are in `operations/urls.py`.
"""
