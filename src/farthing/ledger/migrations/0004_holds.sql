-- Open holds have a table of their own: as small as there are calls under way, so that a hold and its end change one page
-- of it, and what is due is found by looking through it.

-- number: the `seq` of the entry that reserved it, which later entries name as their `reservation` (of holds from before this
-- version: their number then). named: how often the caller has said the key; 0: it is ours.
-- state: held (not yet gone), dispatched (gone). moves: what it holds, as its entry says it: [[account, 0, amount, 0], ...].
-- input: how many tokens go in, where that is known. call: whose call it is.
CREATE TABLE holds (
  key        TEXT NOT NULL,
  org        TEXT NOT NULL,
  number     INTEGER NOT NULL,
  named      INTEGER NOT NULL,
  state      TEXT NOT NULL,
  at_us      INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  usd        INTEGER,
  tokens     INTEGER NOT NULL,
  calls      INTEGER NOT NULL,
  input      INTEGER,
  moves      TEXT NOT NULL,
  call       TEXT NOT NULL,
  PRIMARY KEY (key, org)
) STRICT, WITHOUT ROWID;

-- What is remembered of holds that are over, for messages that come late or again. state: settled, released (never went),
-- expired. A settled hold whose key nobody can say again is not remembered.
CREATE TABLE ended_holds (
  seq        INTEGER PRIMARY KEY,
  key        TEXT NOT NULL,
  org        TEXT NOT NULL,
  number     INTEGER NOT NULL,
  state      TEXT NOT NULL,
  at_us      INTEGER NOT NULL,
  expires_us INTEGER NOT NULL,
  usd        INTEGER,
  tokens     INTEGER NOT NULL,
  calls      INTEGER NOT NULL,
  input      INTEGER,
  moves      TEXT NOT NULL,
  call       TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX ended_holds_key ON ended_holds (key, org);

INSERT INTO holds
SELECT key, org, number, 1, state, at_us, expires_us, usd, tokens, calls, call ->> 'input', (
  SELECT '[' || coalesce(group_concat('[' || (value ->> 0) || ',0,' || (value ->> 1) || ',0]'), '') || ']' FROM json_each(holds)
), call
FROM reservations WHERE state IN ('held', 'dispatched');
INSERT INTO ended_holds
SELECT number, key, org, number, state, at_us, expires_us, usd, tokens, calls, call ->> 'input', (
  SELECT '[' || coalesce(group_concat('[' || (value ->> 0) || ',0,' || (value ->> 1) || ',0]'), '') || ']' FROM json_each(holds)
), call
FROM reservations WHERE state NOT IN ('held', 'dispatched');
DROP TABLE reservations;

-- Older writers would not find the holds. Those that have the file open go on with plain events.
UPDATE ledger_meta SET value = '2' WHERE key = 'min_writer';
