"""The adapters that speak the Host protocol, and what they are made of. Top floor: nothing else of ours imports them.

`standalone` is a host with a gateway of its own: `gateway` (its life), `server` (HTTP), `assembly` (provider, runtime and host
put together), `internal` (`/_lambda/…`), and behind it moto for all other services: `moto_process` (its life), `upstream` and
`proxy` (the way there), `telemetry` (logs and metrics), `credentials` and `identities`. In the child run `moto_server`,
`moto_callers` and `moto_buckets`.

`localstack` has LocalStack load us instead: it answers with the same assembly, through `loop_thread` and `threaded_body`, and
with what knows the moto that LocalStack runs: `moto_sessions` and `moto_signatures`.
"""
