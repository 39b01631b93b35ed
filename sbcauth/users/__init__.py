"""User Info: the users and their H(A1), in SQLite."""
