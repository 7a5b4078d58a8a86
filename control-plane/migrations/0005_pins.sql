-- What is pinned at the head.
CREATE TABLE pins (
    content BLOB PRIMARY KEY,
    note TEXT NOT NULL,
    pinned_by TEXT NOT NULL,
    pinned_at_ms BIGINT NOT NULL
);
