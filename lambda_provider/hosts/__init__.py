"""The adapters that speak the Host protocol, and what they are made of. Top floor: nothing else of ours imports them.

`application` is Lambda for one host, started and stopped: `assembly` (provider, runtime and host put together), `internal`
(`/_lambda/…`), `service_invokes`. Whose server it is: `gateway` with `server` (ours), `embedded` (somebody's ASGI server),
`wsgi_exchange` (a WSGI server, with a loop of ours in `loop_thread`), `gateway_thread` (a test).

`bare` is Lambda alone. `standalone` is a host with a gateway of its own, and behind it moto for all other services:
`moto_process` (its life), `upstream` and `proxy` (the way there), `telemetry` (logs and metrics), `credentials` and `identities`.
`registry` is what Docker pushes to and pulls from, the content of what ECR has.
In the child run `moto_server`, `moto_callers`, `moto_buckets`, and `moto_activity` with the sources of events: `moto_queues`
(with `moto_fifo` and `moto_dead_letters`), `moto_streams` and `moto_table_streams`.

`localstack` has LocalStack load us instead: it answers with the same assembly, through `loop_thread` and `threaded_body`, and
with what knows the moto that LocalStack runs: `moto_sessions` and `moto_signatures`.
"""
