-- The User Info table: who may register and call, and how they prove it.
--
-- This file is the only truth about the database. Passwords are never stored: ha1_* is H(A1) of
-- RFC 7616 (3.4.2) in lower-case hexadecimal, one for each algorithm, bound to user name and realm.

PRAGMA user_version = 1;

CREATE TABLE IF NOT EXISTS user_info (
    id              INTEGER PRIMARY KEY,
    ip_group        TEXT NOT NULL CHECK (ip_group <> ''),
    local_user      TEXT NOT NULL CHECK (local_user <> ''),  -- user part of the address of record
    username        TEXT NOT NULL CHECK (username <> ''),    -- digest user name
    realm           TEXT NOT NULL CHECK (realm <> ''),
    ha1_md5         TEXT CHECK (length(ha1_md5) = 32 AND ha1_md5 NOT GLOB '*[^0-9a-f]*'),
    ha1_sha256      TEXT CHECK (length(ha1_sha256) = 64 AND ha1_sha256 NOT GLOB '*[^0-9a-f]*'),
    ha1_sha512_256  TEXT CHECK (length(ha1_sha512_256) = 64
                                AND ha1_sha512_256 NOT GLOB '*[^0-9a-f]*'),
    enabled         INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    created_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    UNIQUE (ip_group, username, realm)
) STRICT;

-- "Does this address of record belong to somebody?"
CREATE INDEX IF NOT EXISTS user_info_local_user ON user_info (ip_group, local_user);
