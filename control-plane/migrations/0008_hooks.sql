-- Doors for other systems: whoever knows the token of one and its secret may purge. The secret is not
-- kept: it follows from the id.
CREATE TABLE hooks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    token_hash BLOB NOT NULL UNIQUE,
    everything BIGINT NOT NULL,
    force BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    used_at_ms BIGINT NOT NULL
);
