"""Deterministic hypothesis for all unit tests, and a phone that most of them talk with."""

import pytest
from console_api import changing, looking
from console_web import admin, clock, console, eye, log, stranger, users
from conversation import Phone, serve
from databases import kind, postgresql, postgresql_server
from hypothesis import settings

__all__ = [  # fixtures
    "admin",
    "changing",
    "clock",
    "console",
    "eye",
    "kind",
    "log",
    "looking",
    "postgresql",
    "postgresql_server",
    "stranger",
    "users",
]

settings.register_profile("sbcauth", derandomize=True, deadline=None, max_examples=200)
settings.load_profile("sbcauth")


@pytest.fixture
def phone() -> Phone:
    """Return the phone of user 1001, at a server with all defaults."""
    return Phone(serve())
