-- Older events leave the table for Parquet files beside the ledger. What is listed here is there; a file that is not
-- listed is nobody's. `generation` in ledger_meta rises with every change, so that readers know what they have is stale.

INSERT INTO ledger_meta VALUES ('generation', '0');

-- One row a file: whose events, from when to when, and which rows of the table they were.
CREATE TABLE segments (
  file            TEXT NOT NULL PRIMARY KEY,
  org             TEXT NOT NULL,
  rows            INTEGER NOT NULL,
  bytes           INTEGER NOT NULL,
  first_us        INTEGER NOT NULL,
  last_us         INTEGER NOT NULL,
  first_seq       INTEGER NOT NULL,
  last_seq        INTEGER NOT NULL,
  first_id        TEXT NOT NULL,
  last_id         TEXT NOT NULL,
  corrections     INTEGER NOT NULL,    -- how many of the rows are
  metadata_kinds  INTEGER NOT NULL,    -- different values of metadata
  columns         TEXT NOT NULL        -- a digest of names and types: files that differ are read by name
) STRICT, WITHOUT ROWID;

-- Sorted digests of the ids and dedupe keys of sealed events: what makes a second import add nothing.
CREATE TABLE key_runs (
  file     TEXT NOT NULL PRIMARY KEY,
  rows     INTEGER NOT NULL,
  last_id  TEXT NOT NULL               -- no id of our making above it is in the run
) STRICT, WITHOUT ROWID;

-- Files that others have replaced: a reader may still have them open, so they go later.
CREATE TABLE retired_files (
  file           TEXT NOT NULL PRIMARY KEY,
  retired_at_us  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
