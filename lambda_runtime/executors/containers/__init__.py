"""What executors that speak to a container engine have in common, whichever engine that is; no engine's SDK is needed here.

Reader's order: `executor` (the life of such an executor, and at its top all that an engine's has to supply), `plan` (what the
environments of a version have in common, and what they may do), `image` and `program` (what a plan is made of), `sandbox` and
`ends` (a running environment, and how one ends), `addresses` and `relay` (this machine as containers see it), `settings` and
`errors`; `remote` for environments on other machines.

`docker` and `swarm` are built on it. What only these two share, because both speak to a Docker engine by its SDK, is in `docker`:
the one way to the engine, its images, what is in them, and labels.
"""
