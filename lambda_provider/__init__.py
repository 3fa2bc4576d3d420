"""AWS Lambda's control plane, wire protocol, state and hosts.

Start reading at `provider.py`: it composes the operations and the lifecycle hooks. What runs the functions is the sibling
package `lambda_runtime`, which imports nothing from here.
"""

__version__ = "0.1.0"
