-- Who did what. The head is locked by whoever writes an entry, behind that of the log if both are
-- written; it says where the chain begins, too, once old entries are gone.
CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    class TEXT NOT NULL,
    action TEXT NOT NULL,
    topic TEXT NOT NULL,
    outcome TEXT NOT NULL,
    key_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    target TEXT NOT NULL,
    count BIGINT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
);
CREATE INDEX audit_time ON audit (at_ms);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_topic ON audit (topic, seq);
CREATE INDEX audit_key_id ON audit (key_id, seq);
CREATE INDEX audit_key_name ON audit (key_name, seq);
CREATE INDEX audit_target ON audit (target, seq);
CREATE INDEX audit_request ON audit (request_id);
CREATE TABLE audit_head (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    seq BIGINT NOT NULL,
    hash BLOB NOT NULL,
    floor_seq BIGINT NOT NULL,
    floor_hash BLOB NOT NULL
);
