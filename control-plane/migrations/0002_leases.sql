-- How long the head counts as confirmed on a node; 0 if it has not said.
ALTER TABLE nodes ADD COLUMN lease_ms BIGINT NOT NULL DEFAULT 0;

-- Tokens that are still good, so that old ones are found without reading every change.
CREATE INDEX changes_tokens ON changes (committed_at_ms) WHERE token IS NOT NULL;
