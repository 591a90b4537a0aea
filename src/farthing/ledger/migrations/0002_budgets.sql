-- Budgets and their accounts, in the same file as the events: a settled call and its event are one transaction.
-- Amounts are in the budget's unit: picodollars, tokens or calls. They are ANY because a sum may pass 64 bits: it is then
-- its decimal text.

INSERT INTO ledger_meta VALUES ('budgets', '0'), ('controls', '0');

-- Every version of every budget. The newest of a name in an organisation holds, unless it says `removed`.
-- series: the version that opened its accounts; seen, latest_us: the last event then, and the latest moment of any.
CREATE TABLE budgets (
  version   INTEGER PRIMARY KEY,
  at_us     INTEGER NOT NULL,
  org       TEXT NOT NULL,
  name      TEXT NOT NULL,
  action    TEXT NOT NULL,
  series    INTEGER NOT NULL,
  seen      INTEGER NOT NULL,
  latest_us INTEGER NOT NULL,
  policy    TEXT NOT NULL,
  "by"      TEXT,
  reason    TEXT
) STRICT;
CREATE INDEX budgets_name ON budgets (org, name, version);

-- A budget in one window: what its scope's events add up to, and what is held. A new window is a new row.
-- held, settled: of settled holds, what was held and what it came to.
CREATE TABLE accounts (
  id       INTEGER PRIMARY KEY,
  series   INTEGER NOT NULL,
  key      TEXT NOT NULL,
  start_us INTEGER NOT NULL,
  end_us   INTEGER,
  posted   ANY NOT NULL,
  reserved ANY NOT NULL DEFAULT 0,
  granted  ANY NOT NULL DEFAULT 0,
  held     ANY NOT NULL DEFAULT 0,
  settled  ANY NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX accounts_key ON accounts (series, key, start_us);

-- state: held (not yet gone), dispatched (gone), settled, released (never went), expired. holds: [[account, amount], ...].
CREATE TABLE reservations (
  number     INTEGER PRIMARY KEY,
  key        TEXT NOT NULL,
  org        TEXT NOT NULL,
  state      TEXT NOT NULL,
  at_us      INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  usd        INTEGER,
  tokens     INTEGER NOT NULL,
  calls      INTEGER NOT NULL,
  holds      TEXT NOT NULL,
  call       TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX reservations_key ON reservations (key, org);
CREATE INDEX reservations_due ON reservations (expires_us) WHERE state IN ('held', 'dispatched');

-- Every movement, for ever. moves: [[account, posted, reserved, granted], ...], signed; they add up to the accounts.
CREATE TABLE entries (
  seq         INTEGER PRIMARY KEY,
  at_us       INTEGER NOT NULL,
  kind        TEXT NOT NULL,
  reservation INTEGER,
  event       TEXT,
  moves       TEXT NOT NULL,
  note        TEXT
) STRICT;

-- A rule that fired: once per account (series, key, window), rule and limit; `times` counts the further ones.
CREATE TABLE alerts (
  seq      INTEGER PRIMARY KEY,
  series   INTEGER NOT NULL,
  key      TEXT NOT NULL,
  start_us INTEGER NOT NULL,
  rule     TEXT NOT NULL,
  "limit"  INTEGER NOT NULL,
  times    INTEGER NOT NULL DEFAULT 1,
  first_us INTEGER NOT NULL,
  last_us  INTEGER NOT NULL,
  facts    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX alerts_once ON alerts (series, key, start_us, rule, "limit");

-- Somebody is asked whether an account may go over its limit. state: pending, granted, refused.
CREATE TABLE approvals (
  number     INTEGER PRIMARY KEY,
  at_us      INTEGER NOT NULL,
  account    INTEGER NOT NULL,
  amount     ANY NOT NULL,
  state      TEXT NOT NULL,
  facts      TEXT NOT NULL,
  decided_us INTEGER,
  "by"       TEXT,
  reason     TEXT
) STRICT;
CREATE INDEX approvals_pending ON approvals (account) WHERE state = 'pending';

-- What was said about agents and tasks: pause, resume, kill, critical, ordinary. The newest of a name holds.
CREATE TABLE controls (
  seq      INTEGER PRIMARY KEY,
  at_us    INTEGER NOT NULL,
  org      TEXT NOT NULL,
  kind     TEXT NOT NULL,
  name     TEXT NOT NULL,
  action   TEXT NOT NULL,
  until_us INTEGER,
  "by"     TEXT,
  reason   TEXT
) STRICT;

-- What the last calls of an agent to a model were like, for estimating the next.
CREATE TABLE samples (
  org     TEXT NOT NULL,
  agent   TEXT NOT NULL,
  model   TEXT NOT NULL,
  sample  TEXT NOT NULL,
  PRIMARY KEY (org, agent, model)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_never_change BEFORE UPDATE ON entries
WHEN (SELECT value FROM ledger_meta WHERE key = 'door') IS NOT 'open'
BEGIN SELECT RAISE(ABORT, 'entries are append-only: what was wrong is mended by another entry'); END;

CREATE TRIGGER entries_never_go BEFORE DELETE ON entries
WHEN (SELECT value FROM ledger_meta WHERE key = 'door') IS NOT 'open'
BEGIN SELECT RAISE(ABORT, 'entries are append-only: they cannot be deleted'); END;
