"""The registry of the gateway's ECR: what `docker push` and an engine's pull talk to.

Control and content are apart, as on AWS. Repositories, tags and policies are ECR's (moto's, in its own process); what it has
is written to the catalog after each change, and read from there, so that a pull needs no ECR to be running. Blobs are the
registry's.

| module | subject |
| --- | --- |
| `names` | repositories of accounts and regions, in every form in which they are addressed |
| `place` | where all of it lies, and how the process of ECR is told |
| `catalog` | what ECR has, on disk: one file a repository |
| `manifests` | what a manifest refers to |
| `blobs` | layers and configurations by their digest, uploads, garbage |
| `ecr` | changes, asked of ECR's own API |
| `errors` | errors as the distribution specification has them |
| `exchange`, `blob_routes`, `manifest_routes`, `application` | the HTTP API under `/v2/` |
| `images` | the image that a function's ImageUri names |
| `gateway` | the registry of one gateway, from its start to its end |

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
"""
