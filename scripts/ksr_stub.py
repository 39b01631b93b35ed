"""Write the types of KSR, the module of Kamailio's interpreter, as a running Kamailio tells them.

.venv/bin/python scripts/ksr_stub.py run/rpc.sock > typings/KSR.pyi

Kamailio's RPC command app_python.api_list has each function with the types of its arguments and of
its result
(https://www.kamailio.org/docs/modules/stable/modules/app_python3.html#app_python3.r.api_list).
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sbcauth.monitoring.rpc import Rpc

_TAKEN = {"str": "_Text", "int": "int"}
_RETURNED = {"int": "int", "bool": "bool", "none": "None", "xval": "Any"}
_HEAD = '''\
"""KSR, Kamailio's own module, as Kamailio tells it (scripts/ksr_stub.py writes this file).

Functions whose result depends on what they are asked for return Any: None, a str or an int.
"""

from typing import Any, TypeAlias

_Text: TypeAlias = str | bytes
'''


class Function(NamedTuple):
    """A function of KSR; `module` is empty for one of KSR itself."""

    module: str
    name: str
    taken: tuple[str, ...]
    returned: str

    def stub(self, *, method: bool) -> str:
        """Return it as a stub has it."""
        names = [
            f"{name}: {_TAKEN[kind]}" for name, kind in zip("abcdefgh", self.taken, strict=False)
        ]
        arguments = ", ".join([*(["self"] if method else []), *names, *(["/"] if names else [])])
        return f"def {self.name}({arguments}) -> {_RETURNED[self.returned]}: ..."


def functions(rpc: Rpc) -> Iterator[Function]:
    """Yield the functions that a running Kamailio has; raises RpcError, NotRunning."""
    for method in rpc.call("app_python.api_list")["methods"]:
        told = method["func"]
        taken = () if told["params"] in (None, "none") else tuple(told["params"].split(", "))
        yield Function(told["module"], told["name"], taken, told["ret"])


def stub(every: Iterable[Function]) -> str:
    """Return the stub of these functions."""
    modules = defaultdict(list)
    for function in sorted(every):
        modules[function.module].append(function)
    lines = [_HEAD, *(function.stub(method=False) for function in modules.pop("", ()))]
    for module, inside in modules.items():
        lines += ["", f"class _{module}:", *(f"    {each.stub(method=True)}" for each in inside)]
        lines += ["", f"{module}: _{module}"]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(stub(functions(Rpc(Path(sys.argv[1])))), end="")
