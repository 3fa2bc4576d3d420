"""Functions as tasks of a Docker Swarm: the containers of the docker executor, on any machine of a cluster.

Reader's order: `executor` (the RuntimeExecutor, on the base in `containers`) and `settings`, `cluster` (what the managers say
of nodes and tasks), `place` (where the gateway is for nodes), `preparation` (code on every node, by its hash), `task` (what is
asked of Swarm for an environment), `sandbox` (the gateway's side of a running one), `leftovers` and `capabilities`. The gate,
archives and the shell above the runtime are those of `containers.remote`, engine and images those of the docker executor.
docs/swarm.md says why it is so, and what Swarm does not allow.
"""

from lambda_runtime.executors.swarm.executor import PreparedSwarmVersion, SwarmExecutor

__all__ = ["PreparedSwarmVersion", "SwarmExecutor"]
