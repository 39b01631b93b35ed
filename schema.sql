-- The User Info table: who may register and call, and how they prove it.
--
-- This file is the only truth about the database. Passwords are never stored: only H(A1) of
-- RFC 7616 (3.4.2) is, one for each algorithm, bound to user name and realm. It is sealed, as
-- sbcauth/users/sealing.py says; in databases of older versions it may be lower-case hexadecimal.

PRAGMA user_version = 5;  -- sbcauth/users/migrations.py brings older ones here

CREATE TABLE IF NOT EXISTS user_info (
    id          INTEGER PRIMARY KEY,
    ip_group    TEXT NOT NULL CHECK (ip_group <> ''),
    local_user  TEXT NOT NULL CHECK (local_user <> ''),  -- user part of the address of record
    username    TEXT NOT NULL CHECK (username <> ''),    -- digest user name
    realm       TEXT NOT NULL CHECK (realm <> ''),
    enabled     INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    created_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    updated_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')),
    old_until   INTEGER,  -- the password before this one is recognised until then (since 1970, s)
    UNIQUE (ip_group, username, realm)
) STRICT;

-- What proves it, by algorithm: H(A1) of the password, and of the one before.
CREATE TABLE IF NOT EXISTS ha1 (
    user       INTEGER NOT NULL REFERENCES user_info (id) ON DELETE CASCADE,
    algorithm  TEXT NOT NULL CHECK (algorithm <> ''),  -- as RFC 8760 calls it
    ha1        TEXT CHECK (ha1 GLOB 'v1:[0-9]*'
                           AND length(ha1) - iif(algorithm = 'MD5', 65, 85) BETWEEN 0 AND 2
                           OR length(ha1) = iif(algorithm = 'MD5', 32, 64)
                           AND ha1 NOT GLOB '*[^0-9a-f]*'),
    old_ha1    TEXT CHECK (old_ha1 GLOB 'v1:[0-9]*'
                           AND length(old_ha1) - iif(algorithm = 'MD5', 65, 85) BETWEEN 0 AND 2
                           OR length(old_ha1) = iif(algorithm = 'MD5', 32, 64)
                           AND old_ha1 NOT GLOB '*[^0-9a-f]*'),
    PRIMARY KEY (user, algorithm)
) STRICT, WITHOUT ROWID;

-- "Does this address of record belong to somebody?"
CREATE INDEX IF NOT EXISTS user_info_local_user ON user_info (ip_group, local_user);

-- "Who is disabled?"
CREATE INDEX IF NOT EXISTS user_info_disabled ON user_info (ip_group, username, realm)
WHERE NOT enabled;

-- The numbers of a user beside its local user: a PBX has many. A prefix ends in `*`.
CREATE TABLE IF NOT EXISTS identity (
    user     INTEGER NOT NULL REFERENCES user_info (id) ON DELETE CASCADE,
    pattern  TEXT NOT NULL CHECK (pattern <> '' AND pattern <> '*'),
    PRIMARY KEY (user, pattern)
) STRICT;

-- "Whose number is that?"
CREATE INDEX IF NOT EXISTS identity_pattern ON identity (pattern);

-- Where H(A1) are sealed, one row that opens with the right keys alone.
CREATE TABLE IF NOT EXISTS sealing (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    proof  TEXT NOT NULL CHECK (proof GLOB 'v1:[0-9]*')
) STRICT;
