-- How origins and publishers are doing. Of each: what is known of it (JSON), its last 20 probes and a day
-- in quarters of an hour, both in places that come again in turn; and every change of its state.
CREATE TABLE origin_health (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    state TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    reason TEXT NOT NULL,
    score BIGINT NOT NULL,
    probes BIGINT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE origin_probes (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    place BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    asked TEXT NOT NULL,
    result TEXT NOT NULL,
    reason TEXT NOT NULL,
    took_us BIGINT NOT NULL,
    PRIMARY KEY (kind, name, place)
);
CREATE TABLE origin_cells (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    place BIGINT NOT NULL,
    quarter BIGINT NOT NULL,
    good BIGINT NOT NULL,
    bad BIGINT NOT NULL,
    PRIMARY KEY (kind, name, place)
);
CREATE TABLE origin_changes (
    id TEXT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX origin_changes_time ON origin_changes (at_ms);

-- How often something was noted of origins: a note begins with reading what is known, and counts only if
-- nobody noted anything meanwhile.
CREATE TABLE origin_notes (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    revision BIGINT NOT NULL
);
