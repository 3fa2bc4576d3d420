"""Functions as sandboxed processes of this machine: no Docker, a cold start of milliseconds.

Reader's order: `executor` (the RuntimeExecutor), `interpreters` and `languages/` (preparation), `programs` (what is executed),
`layout` (what a sandbox looks like), `fork_servers`, `fork_server`, `sandbox`, `output`, `standby` and `remains` (the gateway's
side of a running environment, and of one that was reset), `host` and `capabilities` (what the machine allows). `zygote/` runs
outside of the gateway, in the functions' interpreters: the fork server and what a forked process does to become an environment.
`runtimes/` holds runtime clients of our own.
"""

from lambda_runtime.executors.process.executor import PreparedProcessVersion, ProcessExecutor

__all__ = ["PreparedProcessVersion", "ProcessExecutor"]
