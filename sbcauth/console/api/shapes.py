"""The JSON Schema of our NamedTuples, as `plain` writes them."""

from functools import cache, reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from sbcauth.monitoring import counts
from sbcauth.monitoring.registrations import ShownRegistration

_NAMES: dict[Any, str] = {
    counts.Outcome: "OutcomeCount",
    counts.Lockouts: "LockoutCount",
    ShownRegistration: "Registration",
}
"""Names that would be taken for others', or say how we make them."""


@cache
def shape(kind: Any) -> type[BaseModel]:
    """Return a model whose schema is that of a NamedTuple: an object, with all its fields."""
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {name: (_mapped(hints[name]), ...) for name in kind._fields}
    return create_model(
        _NAMES.get(kind, kind.__name__),
        __config__=ConfigDict(extra="forbid"),
        __doc__=kind.__doc__,
        **fields,
    )


def _mapped(hint: Any) -> Any:
    """Return what pydantic takes for a type: a model for a NamedTuple, a list for a tuple."""
    if isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields"):
        return shape(hint)
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return reduce(or_, map(_mapped, inner))
    if kind in (tuple, list):
        return list[_mapped(inner[0])]  # type: ignore[misc]
    return hint
