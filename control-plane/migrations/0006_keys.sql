-- What a key may do, and what became of it. A key of before may do everything.
ALTER TABLE api_keys ADD COLUMN scopes TEXT NOT NULL DEFAULT '*';
ALTER TABLE api_keys ADD COLUMN vaults TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN networks TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN per_minute BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN expires_at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN rotated_at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN revoked_at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE api_keys ADD COLUMN edge_hash BLOB;

-- Texts that keys had before, and until when they are good. That of a revoked key is one of them, so
-- that the version before does not find it.
CREATE TABLE api_key_texts (
    hash BLOB PRIMARY KEY,
    key TEXT NOT NULL,
    edge_hash BLOB,
    until_ms BIGINT NOT NULL
);
CREATE INDEX api_key_texts_key ON api_key_texts (key);

-- When a key was last used.
CREATE TABLE api_key_uses (
    key TEXT PRIMARY KEY,
    used_at_ms BIGINT NOT NULL,
    address TEXT NOT NULL
);
