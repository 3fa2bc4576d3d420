"""Event source mappings at work: what polls, filters, batches, invokes, and what becomes of records that fail.

`source` is the contract that a source keeps: read it first. `manager` follows the stored mappings and keeps a source running
for each that wants records. What sources share: `alarm` (when to look), `calls` (blocking clients in threads), `errands` (of one
thread), `batching`, `filters` with `operators`, `responses` (partial batch responses), `counts` (metrics), `system_log` (what its
user reads in CloudWatch Logs), `reports` (what a mapping says of itself).
Streams of shards: `streams` with `stream`, `shards`, `shard_reader`, `stream_delivery`, `checkpoints`, `tumbling`, `discarded`.
Then a module for each source, found by the entry-point group `lambda_provider.event_sources`.
"""
