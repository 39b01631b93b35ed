"""Text from the network, and the bytes that it was."""


def to_bytes(text: str) -> bytes:
    """Return the bytes that `text` was decoded from: UTF-8, with `surrogateescape` for the rest."""
    return text.encode("utf-8", "surrogateescape")
