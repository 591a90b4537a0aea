-- Version 1 of the ledger's file. Never edited: later versions are migrations/0002_<what>.sql and so on, each run once, in order,
-- in one transaction with the version mark. A migration only adds: tables, columns with defaults, indexes; older processes go on
-- reading and writing by column name. One that older writers would damage forbids them: see migrate.py.

CREATE TABLE ledger_meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT
) STRICT, WITHOUT ROWID;

INSERT INTO ledger_meta VALUES ('min_writer', '1'), ('door', 'shut');

-- Every price record that an event was priced with, for ever: what it cost can be recomputed when prices have moved on.
CREATE TABLE price_records (
  hash TEXT NOT NULL PRIMARY KEY,
  text TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row an event. Columns are named as the fields of Event. What sums read comes first: SQLite walks a row from its start.
-- Counts are what the row adds: of a correction the signed difference. Units without a column are in `units`, as JSON;
-- so are counts that are not whole, exactly, as text, while their column holds the whole part.
-- seq never goes back: whoever deletes sealed rows keeps the one with the greatest.
CREATE TABLE events (
  seq                     INTEGER PRIMARY KEY,
  at_us                   INTEGER NOT NULL,
  calls                   INTEGER NOT NULL,
  cost_pico               INTEGER,
  input_tokens            INTEGER NOT NULL,
  output_tokens           INTEGER NOT NULL,
  cache_read_tokens       INTEGER NOT NULL,
  cache_write_tokens      INTEGER NOT NULL,
  output_reasoning_tokens INTEGER NOT NULL,
  restates                INTEGER NOT NULL DEFAULT 0,
  attempt                 INTEGER NOT NULL DEFAULT 1,
  billed                  INTEGER NOT NULL DEFAULT 1,
  cache_hit               INTEGER NOT NULL DEFAULT 0,
  usage_status            TEXT NOT NULL,
  price_status            TEXT NOT NULL,
  prior_usage_status      TEXT,
  prior_price_status      TEXT,
  corrects                TEXT,
  org                     TEXT NOT NULL,
  id                      TEXT NOT NULL,
  dedupe_key              TEXT NOT NULL,
  provider                TEXT,
  model                   TEXT NOT NULL,
  requested_model         TEXT,
  operation               TEXT NOT NULL,
  team                    TEXT,
  cost_center             TEXT,
  environment             TEXT,
  "user"                  TEXT,
  session                 TEXT,
  trace                   TEXT,
  name                    TEXT,
  agent                   TEXT,
  run                     TEXT,
  task                    TEXT,
  task_type               TEXT,
  step                    TEXT,
  feature                 TEXT,
  endpoint                TEXT,
  prompt                  TEXT,
  metadata                TEXT,           -- JSON object
  units                   TEXT,           -- JSON object: the units without a column
  usage_known             TEXT,           -- JSON object: of a correction, all counts as they are now known
  usage_problems          TEXT,           -- JSON array: why the counts cannot be
  context                 TEXT,           -- JSON object
  price_hash              TEXT,           -- price_records.hash
  price_reason            TEXT,
  reported_pico           INTEGER,
  response_id             TEXT,
  source                  TEXT NOT NULL,
  recorder                TEXT,
  recorded_at_us          INTEGER NOT NULL,
  error                   TEXT,
  billing                 TEXT NOT NULL DEFAULT 'metered',
  fingerprints            TEXT            -- JSON object: keyed digests of the request
) STRICT;

CREATE UNIQUE INDEX events_id ON events (id, org);
CREATE UNIQUE INDEX events_dedupe ON events (dedupe_key, org);
CREATE INDEX events_at ON events (at_us);
CREATE INDEX events_trace ON events (trace) WHERE trace IS NOT NULL;
CREATE INDEX events_corrects ON events (corrects) WHERE corrects IS NOT NULL;

-- Append-only. Sealing and forgetting open the door and shut it again inside one transaction, so that nobody else finds it open.
CREATE TRIGGER events_never_change BEFORE UPDATE ON events
WHEN (SELECT value FROM ledger_meta WHERE key = 'door') IS NOT 'open'
BEGIN SELECT RAISE(ABORT, 'events are append-only: append a correction instead of changing one'); END;

CREATE TRIGGER events_never_go BEFORE DELETE ON events
WHEN (SELECT value FROM ledger_meta WHERE key = 'door') IS NOT 'open'
BEGIN SELECT RAISE(ABORT, 'events are append-only: they cannot be deleted'); END;
