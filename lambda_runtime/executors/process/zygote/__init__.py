"""What runs outside of the gateway, in the functions' interpreters: the fork server and what a forked process does.

Standard library only, any CPython from 3.8 on; nothing here may import anything of the rest of the project. `start.py` is the
script, `server` the loop, `child` and `estates` what that knows of environments that run and that were reset, `template` the root
that all share, `environment` what is one environment's own, `python_runtime` the way into awslambdaric.
"""
