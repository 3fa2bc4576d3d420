"""The data plane: give it a function version, invoke it.

Reader's order: `types` (what goes in and out), `service` (the one door), `deployments` (which versions there are),
`version_manager` (the environments of one), `environment` (the state machine of one sandbox), `housing` (what that lives in),
`runtime_api` (what the code inside talks to), `executors` (where it runs), `event_queue` (asynchronous invokes).
Nothing here knows the control plane: `lambda_provider` imports this package, never the other way round.
"""
