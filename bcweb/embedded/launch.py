"""Start one of the small processes of this package: `python launch.py MODULE ARGUMENTS…`.

`python -m bcweb.embedded.MODULE` would first run `bcweb/__init__.py`, which loads Celery: time and
40 MB for a process that only watches another one. So the parent packages are put in place by
hand, without their `__init__`.
"""

import importlib
import sys
import types
from pathlib import Path


def main() -> int:
    here = Path(__file__).resolve().parent
    for name, folder in (("bcweb", here.parent), ("bcweb.embedded", here)):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    sys.path[0] = str(here.parents[1])
    module = importlib.import_module(f"bcweb.embedded.{sys.argv[1]}")
    code: int = module.main(sys.argv[2:])
    return code


if __name__ == "__main__":
    sys.exit(main())
