"""Fail where two installed distributions own one file: whichever came last has decided it."""

import sys
from importlib.metadata import distributions

owners: dict[str, set[str]] = {}
for distribution in distributions():
    for file in distribution.files or ():
        if file.suffix in (".py", ".pyi", ".so"):
            owners.setdefault(str(file.locate()), set()).add(distribution.name)
shared = {file: names for file, names in owners.items() if len(names) > 1}
for path, names in sorted(shared.items()):
    print(f"{path}: installed by {' and by '.join(sorted(names))}", file=sys.stderr)
sys.exit(bool(shared))
