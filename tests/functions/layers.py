from pathlib import Path

import shared


def handler(event, context):
    return {"name": shared.NAME, "data": sorted(path.name for path in Path("/opt/data").iterdir())}
