"""Where the state of the control plane lives.

`store` is the truth: accounts and `regions` with their functions, immutable values that are replaced whole, and beside them
`resources`. `editor` is what an operation gets to change a function. `state` puts together what belongs to one provider: the
store, `archives` with code by its content's hash, `positions` of event source mappings, and the `event_log` of accepted events.
`journal` makes changes durable in the layout of `formats`, `records` are functions as its rows, and `transfer` moves all of it as
one file. `zipcheck` lets no hostile or damaged archive in. `paging` cuts lists into pages. `errors` are for whoever runs us.
"""
