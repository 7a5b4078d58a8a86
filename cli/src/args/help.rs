//! The longer half of `--help`: what scripts rely on.

pub(crate) const PROGRAM: &str = "\
Exit codes:
  0    done
  1    failed
  2    wrong usage, configuration or ids
  3    the API key was refused, or may not do this
  4    the control plane cannot be reached
  5    timed out, or not complete: some node has not applied the change, does not hold what is
       pinned, or failed to fetch what is preloaded
  130  interrupted while waiting; the change goes on, and its id was printed

Configuration, each from the first place that has it: flags; the profile named by --profile;
WCDN_ENDPOINT, WCDN_API_KEY, WCDN_CA_FILE; the head of ~/.config/wcdn/config.toml (or
$XDG_CONFIG_HOME/wcdn/config.toml):

  endpoint = \"https://wcdn.example:4501\"   # of several control planes: \"https://a:4501,https://b:4501\"
  api_key_file = \"key\"                 # relative to this file
  ca_file = \"ca.pem\"

  [profile.staging]
  endpoint = \"https://staging.example:4501\"
  api_key_file = \"staging-key\"

In JSON, ids and positions (\"epoch:seq\") are text, times are RFC 3339 in UTC, and what is not
known is null. Progress and errors go to standard error. NO_COLOR is respected.";

pub(crate) const API_KEY: &str = "\
A file with the API key and nothing else [env: WCDN_API_KEY, the key itself]

There is no flag for the key: a command line can be read by everybody on the machine, and stays \
in the history of the shell.";

pub(crate) const CHANGE: &str = "\
JSON: {change: {id, kind, first, last, committedAt, ids, by}}; with --wait as `wcdn receipt`.";

pub(crate) const PURGE: &str = "\
JSON: {change: {id, kind, first, last, committedAt, ids, by}}; with --wait as `wcdn receipt`.

A file of a quilt stands for its whole quilt. At most 100,000 ids in one purge. If some of them are
pinned, nothing is purged, unless by --force.";

pub(crate) const RECEIPT: &str = "\
JSON: {change: {id, kind, first, last, committedAt, ids, by}, nodes: [{node, region, state,
appliedAfterMs, memoryRemoved, fillsMarked, redis, redisRemoved, readBack}], settled, complete}.

state is pending, applied, unconfirmed, fenced or lost; redis is none, removed or unreachable;
readBack is clean, stale or unknown. Times count from the commit to the arrival of the node's word.
Exits with 5 while some node has not applied the change.";

pub(crate) const BLOCKS: &str = "JSON: {blocks: [{id, reason, by, blockedAt}]}.";

pub(crate) const PIN: &str = "\
JSON: {change: {id, kind, first, last, committedAt, ids, by}}; with --wait {change, counts:
{requested, filling, held, degraded, overBudget, unpinned}, troubled: [{id, state, held, expected,
overBudget, failed, reason}]}.

A file of a quilt stands for its whole quilt. At most 10,000 ids in one pin. What is pinned is held
by two nodes of each region, or by the one that there is, in memory set aside for it
(cache.pinned_memory of the nodes): pins never evict each other, or anything else. It is fetched
again after it was lost, and nothing can keep it that is gone from Walrus and from every node.
Exits with 5 while not every pin is held.";

pub(crate) const PINS: &str = "\
JSON: {pins: [{id, state, held, expected, overBudget, failed, reason, note, by, pinnedAt}]}. state is
requested, filling, held, degraded or over_budget; held, overBudget and failed count nodes.";

pub(crate) const PRELOAD: &str = "\
JSON: {job: {id, begunAt, regions: [{region, wanted, done, failed, bytes}], settled, failures: [{id,
region, reason}]}}.

A file of a quilt stands for its whole quilt. At most 10,000 ids in one preload. Each blob is fetched
by one node of each region, behind what viewers ask for; the others of the region get it from there.
The control plane that was asked keeps the job for an hour: wcdn preload --job JOB shows it.
Exits with 5 if a blob failed, or not all are there yet.";

pub(crate) const NODES: &str = "\
JSON: {head, nodes: [{node, region, state, applied, confirmedAgoMs, version, hasSession, strict,
edgeUrl}]}. state is live, unconfirmed, fenced or lost.";

pub(crate) const ORIGINS: &str = "\
Without a word, and for show, JSON: {revision, origins: [{name, kind, url, state, reason, since,
score, successPercent, p50Ms, probedAt, liedAt, trusted, weight, automatic, operator,
probes: [{at, asked, result, reason, tookMs}], strip: [{from, good, bad}],
regions: [{region, requests, unreachable, timedOut, refused, throttled, broken, slow, lies, bytes,
headP50Ms, headP95Ms}], changes: [{at, from, to, reason}]}]}. kind is aggregator or publisher; state
is healthy, degraded, unhealthy or ejected; score goes to 100. The 24 hours are one character each,
as high as the share of answers; regions are of about the last quarter of an hour, as edges report.
Of probe: one line {name, kind, at, asked, result, reason, tookMs} per answer.

JSON of get: {revision, origins: [{name, url, trusted}], publishers}, which set takes; weight,
ejected, reason, automatic and operator stand there where they are not the usual ones. Of set, and of
whatever changes one: {change: {…}, pool: {…}}; with --wait as `wcdn receipt`. Of refresh: {change,
added, removed, altered, skipped}.

set names the revision it was made from: if another change came between, nothing is changed. Changes
of one origin are made anew in that case, and what others did to others stays.";

pub(crate) const EVENTS: &str = "\
JSON, one line per event: {position, committedAt, kind, all, ids, revision}. kind is purge, block,
unblock, pin, unpin, origins, barrier or unknown.

With --follow it goes on after the connection was lost, and leaves out nothing.";

pub(crate) const EXPLAIN: &str = "\
JSON: {id, blocked, pinned, nodes: [{node, region, unanswered, holding: {tier, blocked, pinned,
length, verified, contentType, token, removed, fetchedAt, applied}, pin: {state, reason}}]}. tier is
memory, redis, filling, or null if the node holds nothing; verified is full, attested or origin; the
state of a pin is filling, held, over_budget or failed, and pin is null where it is not to be held.

A node serves what it holds if the token, the position known when the bytes were fetched, reaches
that of the latest removal.";

pub(crate) const STATUS: &str = "JSON: {endpoint, version, head, floorSeq, nodesLive}.";

pub(crate) const KEYS: &str = "\
JSON: {keys: [{id, name, scopes, vaults, networks, perMinute, expiresAt, createdAt, createdBy,
rotatedAt, previousUntil, revokedAt, usedAt, usedFrom}]}; of one key, such an object; of one that was
made or rotated, {key, about}.

Scopes: analytics:read audit:read blocks:read blocks:write cache:preload cache:purge cache:purge_all
cache:read events:read files:read files:write hooks:admin keys:admin nodes:admin nodes:read
origins:read origins:write pins:read pins:write, and * for all. To write is to read. No key gives what
it does not have itself.";

pub(crate) const HOOKS: &str = "\
JSON: {hooks: [{id, name, all, force, createdAt, createdBy, usedAt}]}; of one that was made, {path,
secret, hook}.

POST {\"ids\": [...]} or {\"all\": true} to the path on the control plane's REST port, signed as Standard
Webhooks say: webhook-id, webhook-timestamp (Unix seconds, five minutes off at most), and
webhook-signature: v1,BASE64 of HMAC-SHA-256 over id.timestamp.body, with the secret after whsec_ as
base64. The same webhook-id is one change.";

pub(crate) const AUDIT: &str = "\
JSON: {entries: [{seq, at, class, action, outcome, keyId, keyName, address, requestId, target, count,
detail}]}; verify: {first, last, hash, issuerKey, isKeyGiven}.

Each entry holds the hash of the one before, so that none can be changed, removed or moved unnoticed;
an export without a filter ends with how far the chain reaches, signed by the control plane. Keep the
end that verify prints: a later export must go on from there (--after).";
