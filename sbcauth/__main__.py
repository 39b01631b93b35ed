"""`python -m sbcauth` is the command `sbcauth`."""

from sbcauth.cli import app

app()
