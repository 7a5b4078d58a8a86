-- Several control planes write one log. Which history of the database the log belongs to: another server,
-- timeline or table means that the database was brought back, and may lack something.
ALTER TABLE head ADD COLUMN lineage TEXT;

-- A receipt that names every node is not replaced by one that does not.
ALTER TABLE receipts ADD COLUMN complete BIGINT NOT NULL DEFAULT 0;

-- What others committed is found by its place.
CREATE INDEX changes_place ON changes (epoch, first_seq);

-- Who does what only one may do, until when by the database's clock. The number rises with each holder.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
