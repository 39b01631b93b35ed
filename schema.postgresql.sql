-- The User Info table in PostgreSQL: the twin of schema.sql, column for column.
--
-- What stands here beside it lets every node keep a copy: which users each change was about. Names
-- are compared byte for byte, as SQLite does. It is made in one transaction, in the first schema of
-- the search path.

CREATE TABLE sbcauth_schema (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    number  INTEGER NOT NULL
);
INSERT INTO sbcauth_schema VALUES (1, 5);  -- sbcauth/users/migrations.py brings older ones here

CREATE TABLE user_info (
    id          BIGINT PRIMARY KEY,
    ip_group    TEXT COLLATE "C" NOT NULL CHECK (ip_group <> ''),
    local_user  TEXT COLLATE "C" NOT NULL CHECK (local_user <> ''),
    username    TEXT COLLATE "C" NOT NULL CHECK (username <> ''),
    realm       TEXT COLLATE "C" NOT NULL CHECK (realm <> ''),
    enabled     BOOLEAN NOT NULL DEFAULT true,
    created_at  TEXT NOT NULL DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    updated_at  TEXT NOT NULL DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    old_until   BIGINT,
    UNIQUE (ip_group, username, realm)
);

CREATE TABLE ha1 (
    "user"     BIGINT NOT NULL REFERENCES user_info (id) ON DELETE CASCADE,
    algorithm  TEXT COLLATE "C" NOT NULL CHECK (algorithm <> ''),
    ha1        TEXT CHECK (ha1 ~ '^v1:[0-9]' AND length(ha1)
                           - CASE algorithm WHEN 'MD5' THEN 65 ELSE 85 END BETWEEN 0 AND 2
                           OR length(ha1) = CASE algorithm WHEN 'MD5' THEN 32 ELSE 64 END
                           AND ha1 !~ '[^0-9a-f]'),
    old_ha1    TEXT CHECK (old_ha1 ~ '^v1:[0-9]' AND length(old_ha1)
                           - CASE algorithm WHEN 'MD5' THEN 65 ELSE 85 END BETWEEN 0 AND 2
                           OR length(old_ha1) = CASE algorithm WHEN 'MD5' THEN 32 ELSE 64 END
                           AND old_ha1 !~ '[^0-9a-f]'),
    PRIMARY KEY ("user", algorithm)
);

CREATE INDEX user_info_local_user ON user_info (ip_group, local_user);

CREATE INDEX user_info_disabled ON user_info (ip_group, username, realm) WHERE NOT enabled;

CREATE TABLE identity (
    "user"   BIGINT NOT NULL REFERENCES user_info (id) ON DELETE CASCADE,
    pattern  TEXT COLLATE "C" NOT NULL CHECK (pattern <> '' AND pattern <> '*'),
    PRIMARY KEY ("user", pattern)
);

CREATE INDEX identity_pattern ON identity (pattern);

CREATE TABLE sealing (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    proof  TEXT NOT NULL CHECK (proof ~ '^v1:[0-9]')
);

-- Each transaction that changed something, the latest thousand. The stamp is another one even where
-- a number comes twice: in a replica that took over before it had seen the first.
CREATE TABLE revision (
    number  BIGINT PRIMARY KEY,
    stamp   UUID NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO revision (number) VALUES (1);

-- Whom it was about; without a user, about everything.
CREATE TABLE changed_user (
    revision  BIGINT NOT NULL,
    "user"    BIGINT
);
CREATE INDEX changed_user_revision ON changed_user (revision, "user");

-- The number of this transaction's revision. Transactions that change something wait for each
-- other, so that numbers are seen in their order.
CREATE FUNCTION this_revision() RETURNS BIGINT LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    mine BIGINT := nullif(current_setting('sbcauth.revision', true), '');
BEGIN
    IF mine IS NOT NULL THEN
        RETURN mine;
    END IF;
    LOCK TABLE sbcauth_schema IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO revision (number) SELECT max(number) + 1 FROM revision RETURNING number INTO mine;
    DELETE FROM revision WHERE number <= mine - 1000;
    DELETE FROM changed_user WHERE revision <= mine - 1000;
    PERFORM set_config('sbcauth.revision', mine::text, true);
    PERFORM pg_notify('sbcauth_users', mine::text);
    RETURN mine;
END
$$;

CREATE FUNCTION note_change() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (SELECT FROM changed) THEN
        EXECUTE format('INSERT INTO changed_user SELECT DISTINCT $1, %I FROM changed', TG_ARGV[0])
            USING this_revision();
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION note_change_of_all() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO changed_user VALUES (this_revision(), NULL);
    RETURN NULL;
END
$$;

CREATE TRIGGER note_insert AFTER INSERT ON user_info REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('id');
CREATE TRIGGER note_update AFTER UPDATE ON user_info REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('id');
CREATE TRIGGER note_delete AFTER DELETE ON user_info REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('id');
CREATE TRIGGER note_insert AFTER INSERT ON ha1 REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('user');
CREATE TRIGGER note_update AFTER UPDATE ON ha1 REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('user');
CREATE TRIGGER note_delete AFTER DELETE ON ha1 REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('user');
CREATE TRIGGER note_insert AFTER INSERT ON identity REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('user');
CREATE TRIGGER note_update AFTER UPDATE ON identity REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('user');
CREATE TRIGGER note_delete AFTER DELETE ON identity REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_change('user');
CREATE TRIGGER note_change_of_all AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sealing
    FOR EACH STATEMENT EXECUTE FUNCTION note_change_of_all();
CREATE TRIGGER note_change_of_all AFTER TRUNCATE ON user_info
    FOR EACH STATEMENT EXECUTE FUNCTION note_change_of_all();
CREATE TRIGGER note_change_of_all AFTER TRUNCATE ON ha1
    FOR EACH STATEMENT EXECUTE FUNCTION note_change_of_all();
CREATE TRIGGER note_change_of_all AFTER TRUNCATE ON identity
    FOR EACH STATEMENT EXECUTE FUNCTION note_change_of_all();
