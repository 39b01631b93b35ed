"""What JSON has for our values: an object for each of ours, a list for many."""

from typing import Any


def plain(found: Any) -> Any:
    """Return a value as lists, and objects by the names of fields, all the way down."""
    if isinstance(found, list | tuple):
        fields = found._asdict() if hasattr(found, "_asdict") else None
        if fields is None:
            return [plain(each) for each in found]
        return {name: plain(value) for name, value in fields.items()}
    return found
