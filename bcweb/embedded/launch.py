"""Start one of the small processes of this package: `python launch.py MODULE ARGUMENTS…`.

`python -m bcweb.embedded.MODULE` would first run `bcweb/__init__.py`, which loads Celery: half a
second and 40 MB for a process that only watches another one. So the parent package is put in
place by hand, without its `__init__`.
"""

import importlib
import sys
import types
from pathlib import Path


def main() -> int:
    package = Path(__file__).resolve().parents[1]
    bcweb = types.ModuleType("bcweb")
    bcweb.__path__ = [str(package)]
    sys.modules["bcweb"] = bcweb
    sys.path[0] = str(package.parent)
    module = importlib.import_module(f"bcweb.embedded.{sys.argv[1]}")
    code: int = module.main(sys.argv[2:])
    return code


if __name__ == "__main__":
    sys.exit(main())
