"""For environments on other machines than the gateway's, where no directory, pipe or process is shared with it.

`gate` (the one port at which all of them reach the gateway), `archive` (code as one file, and the script that takes it apart
there), `shell` (the script above the runtime, and what it says in the output).
"""
