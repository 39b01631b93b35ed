"""The types of KSR that mypy believes, against Kamailio's own account of what it has."""

import ast
from collections.abc import Iterator

import pytest
from kamailio import Server, free_port
from repository import REPOSITORY

from sbcauth.monitoring.rpc import Rpc
from scripts.ksr_stub import Function, functions

LISTEN = [f"ws:127.0.0.1:{free_port()}"]
CONFIG = f"""
realm: example.com
cluster: {{node: 1, address: "sip:127.0.1.1:{free_port()}"}}
ip_groups:
  - name: Phones
    type: user
    classification: [{{address: 127.0.0.0/8}}]
"""
STUB = ast.parse((REPOSITORY / "typings" / "KSR.pyi").read_text())
TAKEN = {"_Text": "str", "int": "int"}
RETURNED = {"int": "int", "bool": "bool", "None": "none", "Any": "xval"}


def believed() -> Iterator[Function]:
    """Yield the functions of the stub."""
    for node in STUB.body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        module = node.name.removeprefix("_") if isinstance(node, ast.ClassDef) else ""
        for each in inside:
            if isinstance(each, ast.FunctionDef):
                taken = [one.annotation for one in each.args.posonlyargs if one.arg != "self"]
                assert each.returns
                assert all(taken)
                kinds = tuple(TAKEN[ast.unparse(kind)] for kind in taken if kind)
                yield Function(module, each.name, kinds, RETURNED[ast.unparse(each.returns)])


def used() -> set[tuple[str, str]]:
    """Return the functions that the scripts name as `KSR.module.function` or `KSR.function`."""
    found = set()
    for path in (REPOSITORY / "kemi").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if name.startswith("KSR."):
                module, _, function = name.removeprefix("KSR.").rpartition(".")
                found.add((module, function))
    return found


@pytest.fixture(scope="module")
def known(server: Server) -> set[Function]:
    """Return the functions of the Kamailio that runs."""
    return set(functions(Rpc(server.folder / "run" / "rpc.sock")))


def test_every_function_that_mypy_believes_in_is_there_with_these_types(
    known: set[Function],
) -> None:
    assert set(believed()) - known == set()


def test_every_function_that_is_used_is_there(known: set[Function]) -> None:
    modules = {function.module for function in known}
    functions = {pair for pair in used() if pair not in {("", module) for module in modules}}
    assert len(functions) > 30
    assert functions <= {(function.module, function.name) for function in known}
