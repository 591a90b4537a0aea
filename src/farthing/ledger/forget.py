"""Forgetting a person: their name leaves rows, segments and accounts; every count and amount stays."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any

from farthing.errors import InputError, LedgerBusy
from farthing.ledger import duck
from farthing.ledger.beside import keep_beside
from farthing.ledger.engine import Database
from farthing.ledger.rows import to_json
from farthing.ledger.seal import Step, no_step, same, write_segment
from farthing.ledger.segments import (
    Sealed,
    Segment,
    door_open,
    enlist,
    folder_of,
    look,
    nothing,
    publish,
    retire,
    sweep,
)
from farthing.ledger.sheet import BUMP, kept, moves_text
from farthing.ledger.upkeep import own
from farthing.policy import Budget, key_fields, key_of, values_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was done. label: what stands where the name stood, the same everywhere and meaning nothing."""

    label: str
    events: int
    segments: int
    others: int


def forget(path: str, users: Sequence[str], org: str | None = None, *, step: Step = no_step) -> Forgotten:
    """Replace a person's name (and its other spellings, as its hash) by a label, in all organisations or one.

    Where it ends early, what is done is done, and doing it again does the rest. Backups still hold the name.
    """
    names = [name for name in dict.fromkeys(users) if name]
    if not names:
        raise InputError("name the user to forget")
    with own(path) as database:
        known = look(database.rows, nothing(path))
        with database.transaction():
            label = _label(database, names, org)
            events = _hot(database, names, org, label)
        step("hot rows")
        rewritten = 0
        for segment in known.segments:
            if org is None or segment.org == org:
                changed = _segment(database, known, segment, names, label, step)
                events += changed
                rewritten += bool(changed)
        late, others = _others(database, names, org, label)
        events += late
        sweep(database, folder_of(path), grace_s=0.0)
        _leave_no_trace(database)
    return Forgotten(label=label, events=events, segments=rewritten, others=others)


_MARK = "forgetting"


def _label(database: Database, names: Sequence[str], org: str | None) -> str:
    """What is to stand for the person: what stands already, where that was begun and has ended early."""
    asked = [sorted(names), org]
    for (text,) in database.rows("SELECT value FROM ledger_meta WHERE key = ?", (_MARK,)):
        label, *begun = json.loads(text)
        if begun == asked:
            return str(label)
    label = f"forgotten-{secrets.token_hex(6)}"
    database.execute("INSERT OR REPLACE INTO ledger_meta VALUES (?, ?)", (_MARK, json.dumps([label, *asked])))
    return label


def _hot(database: Database, names: Sequence[str], org: str | None, label: str) -> int:
    """How many rows of the table named the person. Inside a transaction."""
    marks = ", ".join("?" * len(names))
    of_org, values = (" AND org = ?", [org]) if org is not None else ("", [])
    naming = " OR ".join(["instr(metadata, ?) > 0"] * len(names))
    quoted = [json.dumps(name, ensure_ascii=False) for name in names]
    found = database.rows(
        f'SELECT seq, "user", metadata FROM events WHERE ("user" IN ({marks}) OR {naming}){of_org}',
        [*names, *quoted, *values],
    )
    changed = [
        (label if user in names else user, new, seq)
        for seq, user, metadata in found
        if (new := scrubbed(metadata, names, label)) != metadata or user in names
    ]
    if changed:
        with door_open(database):
            database.many('UPDATE events SET "user" = ?, metadata = ? WHERE seq = ?', changed)
        enlist(database, ())  # readers have rows of before
    return len(changed)


def scrubbed(text: str | None, names: Sequence[str], label: str) -> str | None:
    """A JSON text with every string that is a name, as value or key, replaced; as it was where there is none."""
    if text is None or not any(json.dumps(name, ensure_ascii=False) in text for name in names):
        return text

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return label if value in names else value
        if isinstance(value, list):
            return [clean(one) for one in value]
        if isinstance(value, dict):
            return {clean(key): clean(one) for key, one in value.items()}
        return value

    return json.dumps(clean(json.loads(text)), ensure_ascii=False, separators=(",", ":"))


def _segment(database: Database, sealed: Sealed, segment: Segment, names: Sequence[str], label: str, step: Step) -> int:
    """How many rows of a segment named the person; it is then replaced by one that does not."""
    file = duck.quoted(sealed.path(segment))
    listed = ", ".join(duck.quoted(name) for name in names)
    naming = " OR ".join(f"contains(metadata, {duck.quoted(json.dumps(name, ensure_ascii=False))})" for name in names)
    with duck.query() as query:
        ((rows,),) = query.rows(f'SELECT count(*) FROM read_parquet({file}) WHERE "user" IN ({listed}) OR {naming}')
        if not rows:
            return 0
        texts = [row[0] for row in query.rows(f"SELECT DISTINCT metadata FROM read_parquet({file}) WHERE {naming}")]
        query.show("texts", duck.table([_pairs(texts, lambda text: scrubbed(text, names, label))]))
        rows_sql = (
            f"""SELECT e.* REPLACE (CASE WHEN e."user" IN ({listed}) THEN {duck.quoted(label)} ELSE e."user" END"""
            ' AS "user", coalesce(t.new, e.metadata) AS metadata)'
            f" FROM read_parquet({file}) e LEFT JOIN texts t ON t.old = e.metadata"
        )
        new = write_segment(query, sealed.folder, rows_sql, segment.org, step)
        same(query, sealed.folder, [new], f"SELECT * FROM read_parquet({file})")
    publish(sealed.folder, new.file)
    step("rewritten named")
    with database.transaction():
        retire(database, [segment.file])
        step("rewritten in transaction")
        enlist(database, [new])
    step("rewritten listed")
    return int(rows)


def _pairs(texts: Sequence[str], change: Callable[[str], str | None]) -> Any:
    return duck.batch({"old": ("text", texts), "new": ("text", [change(text) for text in texts])})


def _others(database: Database, names: Sequence[str], org: str | None, label: str) -> tuple[int, int]:
    """(rows, names of accounts and budgets and what holds and alerts say of a call) that named the person.

    The rows are those that came since the others were renamed: with them accounts are what events say, all in one
    transaction. Whoever knows budgets reads them anew.
    """
    with database.transaction():
        late = _hot(database, names, org, label)
        with door_open(database):
            done = _renamed_elsewhere(database, names, org, label)
        if done:
            database.execute(BUMP)
            keep_beside(database)
        database.execute("DELETE FROM ledger_meta WHERE key = ?", (_MARK,))
    return late, done


def _renamed_elsewhere(database: Database, names: Sequence[str], org: str | None, label: str) -> int:
    fields = {
        series: key_fields(Budget.from_json(policy))
        for series, policy in database.rows("SELECT series, policy FROM budgets")
    }

    def of_key(text: str, series: int) -> str:
        return _key(text, fields.get(series, ()), names, org, label)

    def of_text(text: str, _series: int) -> str:
        return _told(text, names, label)

    def of_call(text: str, _series: int) -> str:
        return _call(text, names, label)

    ours = "SELECT series FROM budgets WHERE org IN (?1, '*')"
    of_account = f"(SELECT id FROM accounts WHERE series IN ({ours}))"
    done = _budgets(database, names, org, label)
    found = database.rows(f"SELECT id, series, key FROM accounts WHERE ?1 IS NULL OR series IN ({ours})", (org,))
    renamed = [(id_, series, new) for id_, series, key in found if (new := of_key(key, series)) != key]
    done += _rename_accounts(database, renamed)
    found = database.rows(f"SELECT seq, series, key FROM alerts WHERE ?1 IS NULL OR series IN ({ours})", (org,))
    renamed = [(seq, series, new) for seq, series, key in found if (new := of_key(key, series)) != key]
    done += _rename_alerts(database, renamed)
    for table, column, change, where in (
        ("alerts", "facts", of_text, f"series IN ({ours})"),
        ("approvals", "facts", of_text, f"account IN {of_account}"),
        ("entries", "note", of_text, f"json_extract(moves, '$[0][0]') IN {of_account}"),
        ("holds", "call", of_call, "org = ?1"),
        ("ended_holds", "call", of_call, "org = ?1"),
    ):
        there = dict(database.rows(f"SELECT name, pk FROM pragma_table_info('{table}')"))
        keys = [name for name, place in there.items() if place]
        found = database.rows(
            f"SELECT {column}, {'series' if 'series' in there else 0}, {', '.join(keys)} FROM {table}"
            f" WHERE {column} IS NOT NULL AND (?1 IS NULL OR {where})",
            (org,),
        )
        changed = [(new, *row) for text, series, *row in found if (new := change(text, series)) != text]
        here = " AND ".join(f"{key} = ?" for key in keys)
        database.many(f"UPDATE {table} SET {column} = ? WHERE {here}", changed)
        done += len(changed)
    return done


_Renamed = Sequence[tuple[int, int, str]]
"""(number of the row, series, its new key) of each."""
_SUMS = ("posted", "reserved", "granted", "held", "settled")


def _rename_accounts(database: Database, renamed: _Renamed) -> int:
    """Give accounts their new keys. One that comes to the key of another is added to it, with all that names it."""
    into: dict[int, int] = {}
    for account, series, key in renamed:
        same = database.rows(
            f"SELECT o.id, {', '.join(f'a.{name}, o.{name}' for name in _SUMS)} FROM accounts a JOIN accounts o"
            " ON o.series = ?2 AND o.key = ?3 AND o.start_us = a.start_us AND o.id <> a.id WHERE a.id = ?1",
            (account, series, key),
        )
        if not same:
            database.execute("UPDATE accounts SET key = ? WHERE id = ?", (key, account))
            continue
        other, *amounts = same[0]
        sums = [kept(int(one) + int(two)) for one, two in zip(amounts[::2], amounts[1::2], strict=True)]
        assigned = ", ".join(f"{name} = ?" for name in _SUMS)
        database.execute(f"UPDATE accounts SET {assigned} WHERE id = ?", (*sums, other))
        database.execute("UPDATE approvals SET account = ? WHERE account = ?", (other, account))
        database.execute("DELETE FROM accounts WHERE id = ?", (account,))
        into[account] = other
    if into:
        for table, number in (("entries", "seq"), ("holds", "key, org"), ("ended_holds", "seq")):
            _redirect(database, table, number.split(", "), into)
    return len(renamed)


def _redirect(database: Database, table: str, keys: Sequence[str], into: Mapping[int, int]) -> None:
    """Let the moves of a table's rows name the accounts that others were added to, each account once in a row."""
    changed = []
    for moves, *row in database.rows(
        f"SELECT moves, {', '.join(keys)} FROM {table}"
        f" WHERE EXISTS (SELECT 1 FROM json_each(moves) m WHERE m.value ->> 0 IN (SELECT value FROM json_each(?)))",
        (json.dumps(list(into)),),
    ):
        sums: dict[int, list[int]] = {}
        for account, *amounts in json.loads(moves):
            known = sums.setdefault(into.get(account, account), [0] * len(amounts))
            known[:] = map(add, known, amounts)
        changed.append((moves_text([(account, *amounts) for account, amounts in sorted(sums.items())]), *row))
    here = " AND ".join(f"{key} = ?" for key in keys)
    database.many(f"UPDATE {table} SET moves = ? WHERE {here}", changed)


def _rename_alerts(database: Database, renamed: _Renamed) -> int:
    """Give alerts their new keys. Two of one account, window, rule and limit are one that fired as often as both."""
    for seq, series, key in renamed:
        same = database.rows(
            "SELECT o.seq FROM alerts a JOIN alerts o ON o.series = ?2 AND o.key = ?3 AND o.start_us = a.start_us"
            ' AND o.rule = a.rule AND o."limit" = a."limit" AND o.seq <> a.seq WHERE a.seq = ?1',
            (seq, series, key),
        )
        if not same:
            database.execute("UPDATE alerts SET key = ? WHERE seq = ?", (key, seq))
            continue
        database.execute(
            "UPDATE alerts AS o SET times = o.times + a.times, first_us = min(o.first_us, a.first_us),"
            " last_us = max(o.last_us, a.last_us) FROM alerts a WHERE a.seq = ?1 AND o.seq = ?2",
            (seq, same[0][0]),
        )
        database.execute("DELETE FROM alerts WHERE seq = ?", (seq,))
    return len(renamed)


def _budgets(database: Database, names: Sequence[str], org: str | None, label: str) -> int:
    """The budgets of this person alone, and those that this person owns."""
    changed = []
    for version, name, policy in database.rows(
        "SELECT version, name, policy FROM budgets WHERE ?1 IS NULL OR org = ?1", (org,)
    ):
        said = json.loads(policy)
        scope = _renamed(said["scope"], names, label)
        mine, said["scope"] = scope != said["scope"], scope
        said["name"] = label if mine and name in names else _told(name, names, label)
        if said.get("owner") in names:
            said["owner"] = label
        if (new := json.dumps(said, ensure_ascii=False)) != policy:
            changed.append((said["name"], new, version))
    database.many("UPDATE budgets SET name = ?, policy = ? WHERE version = ?", changed)
    return len(changed)


def _key(text: str, fields: Sequence[str], names: Sequence[str], org: str | None, label: str) -> str:
    """The key of an account with the person's name replaced, in the very form in which keys are compared."""
    if not fields:
        return text
    of = dict(zip(fields, values_of(text, fields), strict=True))
    new = _renamed(of, names, label)
    if new == of or (org is not None and of.get("org", org) != org):
        return text
    return key_of(list(new.values()))


def _renamed(of: dict[str, Any], names: Sequence[str], label: str) -> dict[str, Any]:
    """Fields with the person's name replaced where it is a person's: as user, and in metadata, as in the events."""

    def of_person(field: str, value: Any) -> Any:
        if field != "user" and not field.startswith("metadata."):
            return value
        if value in names:
            return label
        inside = field != "user" and isinstance(value, str) and value[:1] in ("[", "{")
        return scrubbed(value, names, label) if inside else value

    return {field: of_person(field, value) for field, value in of.items()}


def _call(text: str, names: Sequence[str], label: str) -> str:
    """What a hold keeps of its call, with the person's name replaced."""
    said = json.loads(text)
    who = said["who"]
    metadata = scrubbed(to_json(who["metadata"]), names, label) if who.get("metadata") else None
    if who.get("user") not in names and (metadata is None or json.loads(metadata) == who["metadata"]):
        return text
    if who.get("user") in names:
        who["user"] = label
    if metadata is not None:
        who["metadata"] = json.loads(metadata)
    return to_json(said)


def _told(text: str, names: Sequence[str], label: str) -> str:
    """A text, or texts in JSON, with the person's name replaced where it stands as in `agent=a,user=ann`."""
    for name in names:
        for spelled in {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}:
            named = rf"""\b(user|metadata\.[^=,"']+)={re.escape(spelled)}(?=[,"' ]|$)"""
            text = re.sub(named, rf"\1={label}", text)
    return text


def _leave_no_trace(database: Database) -> None:
    """The write-ahead log holds pages of before: move it into the file. Readers of an older state may prevent that."""
    try:
        database.checkpoint("truncate")
    except LedgerBusy:
        return
