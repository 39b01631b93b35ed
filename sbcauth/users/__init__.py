"""User Info: the users and their H(A1), in SQLite or PostgreSQL.

peewee imports every driver that is installed. That of PostgreSQL costs a quarter of a second and
16 MB in each process, and `postgresql` alone needs it: so peewee does not see it.
"""

import sys
from importlib import import_module

_DRIVERS = [name for name in ("psycopg", "psycopg2") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_DRIVERS))  # type: ignore[arg-type] # None: as if it were missing
try:
    import_module("peewee")
finally:
    for _name in _DRIVERS:
        del sys.modules[_name]
