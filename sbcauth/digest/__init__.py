"""Digest authentication without I/O: RFC 7616 and RFC 8760, for both sides."""
