"""Where the state of the control plane lives.

`store` is the truth: accounts and regions with their functions, immutable values that are replaced whole. `editor` is what an
operation gets to change one. `journal` makes acknowledged changes durable, `archives` keeps code by its content's hash, and
`zipcheck` lets no hostile or damaged archive in. `paging` cuts lists into pages.
"""
