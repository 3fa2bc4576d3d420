"""What a request may say, before anything is looked up.

`constraints`  the service model's constraints, in AWS's words; `validate` is its door
`java`         how AWS's service prints values and reads patterns
`arns`         ARNs of Lambda's resources, built in one place
`names`        function names, partial and full ARNs and qualifiers, resolved in one place
`runtimes`     which runtimes functions can be created with

Whether something exists is not known here: that is for the operations.
"""

from __future__ import annotations

from lambda_provider.validation.constraints import validate as validate
