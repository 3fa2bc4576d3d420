"""Scenarios that record named AWS responses, and compare them with what is expected.

`normalise` turns a response into plain JSON, `matcher` compares JSON with an expectation that contains placeholders,
`transformers` writes such an expectation, `session` is the `snapshot` fixture, `recordings` knows what AWS answered,
`targets` says whom a scenario talks to, and `plugin` is all that pytest sees. docs/testing.md tells how to use it.
"""
