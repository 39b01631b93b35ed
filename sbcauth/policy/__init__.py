"""The policy: one request in, one decision out."""
