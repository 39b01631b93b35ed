-- The User Info table: who may register and call, and how they prove it.
--
-- This file is the only truth about the database. Passwords are never stored: ha1_* is H(A1) of
-- RFC 7616 (3.4.2), one for each algorithm, bound to user name and realm. It is sealed, as
-- sbcauth/users/sealing.py says; in databases of older versions it may be lower-case hexadecimal.

PRAGMA user_version = 3;  -- sbcauth/users/migrations.py brings older ones here

CREATE TABLE IF NOT EXISTS user_info (
    id              INTEGER PRIMARY KEY,
    ip_group        TEXT NOT NULL CHECK (ip_group <> ''),
    local_user      TEXT NOT NULL CHECK (local_user <> ''),  -- user part of the address of record
    username        TEXT NOT NULL CHECK (username <> ''),    -- digest user name
    realm           TEXT NOT NULL CHECK (realm <> ''),
    ha1_md5         TEXT CHECK (ha1_md5 GLOB 'v1:[0-9]*' AND length(ha1_md5) BETWEEN 65 AND 67
                                OR length(ha1_md5) = 32 AND ha1_md5 NOT GLOB '*[^0-9a-f]*'),
    ha1_sha256      TEXT CHECK (ha1_sha256 GLOB 'v1:[0-9]*'
                                AND length(ha1_sha256) BETWEEN 85 AND 87
                                OR length(ha1_sha256) = 64
                                AND ha1_sha256 NOT GLOB '*[^0-9a-f]*'),
    ha1_sha512_256  TEXT CHECK (ha1_sha512_256 GLOB 'v1:[0-9]*'
                                AND length(ha1_sha512_256) BETWEEN 85 AND 87
                                OR length(ha1_sha512_256) = 64
                                AND ha1_sha512_256 NOT GLOB '*[^0-9a-f]*'),
    enabled         INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    created_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at      TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    -- H(A1) of the password before this one, recognised until then (seconds since 1970)
    old_ha1_md5         TEXT CHECK (old_ha1_md5 GLOB 'v1:[0-9]*'
                                    AND length(old_ha1_md5) BETWEEN 65 AND 67
                                    OR length(old_ha1_md5) = 32
                                    AND old_ha1_md5 NOT GLOB '*[^0-9a-f]*'),
    old_ha1_sha256      TEXT CHECK (old_ha1_sha256 GLOB 'v1:[0-9]*'
                                    AND length(old_ha1_sha256) BETWEEN 85 AND 87
                                    OR length(old_ha1_sha256) = 64
                                    AND old_ha1_sha256 NOT GLOB '*[^0-9a-f]*'),
    old_ha1_sha512_256  TEXT CHECK (old_ha1_sha512_256 GLOB 'v1:[0-9]*'
                                    AND length(old_ha1_sha512_256) BETWEEN 85 AND 87
                                    OR length(old_ha1_sha512_256) = 64
                                    AND old_ha1_sha512_256 NOT GLOB '*[^0-9a-f]*'),
    old_until           INTEGER,
    UNIQUE (ip_group, username, realm)
) STRICT;

-- "Does this address of record belong to somebody?"
CREATE INDEX IF NOT EXISTS user_info_local_user ON user_info (ip_group, local_user);

-- Where H(A1) are sealed, one row that opens with the right keys alone.
CREATE TABLE IF NOT EXISTS sealing (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    proof  TEXT NOT NULL CHECK (proof GLOB 'v1:[0-9]*')
) STRICT;
