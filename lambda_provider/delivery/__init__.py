"""What leaves after an asynchronous invoke: records for destinations, and dead letters.

`records` says what is sent, `senders` how it reaches a queue, topic, bucket or bus, and `deliveries` what has to be sent when an
event leaves the queue. When an event leaves is the runtime's business (`lambda_runtime.event_queue`).
"""
