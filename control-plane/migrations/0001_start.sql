-- The log: its head, its frames as they are sent, and what frames that were pruned amounted to.
CREATE TABLE head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL
);
CREATE TABLE frames (
    first_seq BIGINT PRIMARY KEY,
    last_seq BIGINT NOT NULL,
    committed_at_ms BIGINT NOT NULL,
    bytes BLOB NOT NULL
);
CREATE TABLE checkpoint (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL,
    floor_seq BIGINT NOT NULL
);
CREATE TABLE removed (
    slot BIGINT PRIMARY KEY,
    seq BIGINT NOT NULL
);

-- What is withheld at the head, and the origin pool at the head (encoded wcdn.edge.v1.OriginPool).
CREATE TABLE blocks (
    content BLOB PRIMARY KEY,
    reason TEXT NOT NULL,
    blocked_by TEXT NOT NULL,
    blocked_at_ms BIGINT NOT NULL
);
CREATE TABLE pool (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    bytes BLOB NOT NULL
);

-- What was asked for, and receipts once they are settled (encoded wcdn.admin.v1.Receipt).
CREATE TABLE changes (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    committed_at_ms BIGINT NOT NULL,
    ids BIGINT NOT NULL,
    asked_by TEXT NOT NULL,
    token TEXT,
    digest BLOB NOT NULL
);
CREATE UNIQUE INDEX changes_token ON changes (asked_by, token);
CREATE INDEX changes_time ON changes (committed_at_ms);
CREATE TABLE receipts (
    change_id TEXT PRIMARY KEY,
    committed_at_ms BIGINT NOT NULL,
    bytes BLOB NOT NULL
);
CREATE INDEX receipts_time ON receipts (committed_at_ms);

CREATE TABLE nodes (
    node TEXT PRIMARY KEY,
    region TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    version TEXT NOT NULL,
    edge_url TEXT NOT NULL,
    strict BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    lost_at_ms BIGINT
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL UNIQUE,
    created_at_ms BIGINT NOT NULL
);
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);
