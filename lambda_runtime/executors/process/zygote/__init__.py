"""What runs outside of the gateway, in the functions' interpreters: the fork server and what a forked process does.

Standard library only, any CPython from 3.8 on; nothing here may import anything of the rest of the project. `start.py` is the
script, `server` the loop, `nursery` where environments are forked and wait for work, `child` and `estates` what is known of those
that run and that were reset, `template` the root that all share, `environment` what is one environment's own, `python_runtime`
the way into awslambdaric, `snapshot` what restores an initialised function, and `fitness` which ones it can.
"""
