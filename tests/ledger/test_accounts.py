"""Budgets inside the ledger: proof that sees what is wrong, ends that come amid other work, old windows, forks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from farthing.amounts import Amounts
from farthing.errors import LedgerError
from farthing.event import Attribution, Event, now_us
from farthing.ledger import audit, holds, open_ledger
from farthing.ledger.engine import Database
from farthing.ledger.holds import Ask, Hold
from farthing.ledger.sqlite import SqliteStore
from farthing.ledger.writer import Writer
from farthing.policy import Subject, make_budget

WHO = Attribution(agent="writer")
SUBJECT = Subject(WHO, "openai", "gpt-5")


def ask(key: str, usd: int = 10, *, gone: bool = True, seconds: int = 600) -> Ask:
    at = now_us()
    return Ask(key, SUBJECT, Amounts(usd, 5, 1), at, at + seconds * 1_000_000, gone)


def test_the_audit_sees_what_is_wrong(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """An account that somebody has changed is told by name, with what it should be."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store:
        store.accounts.put(make_budget("agent=writer", usd=1, name="w"))
        store.append(make_event())
        store.accounts.reserve(ask("k"))
        assert store.accounts.audit().holds_true
        other = Database(str(path))
        other.execute("UPDATE accounts SET posted = posted + 1, reserved = 0")
        found = store.accounts.audit()
        assert {(m.what, m.kept, m.expected) for m in found.mismatches} == {
            ("posted by its entries", 1000, 1001),
            ("reserved by its entries", 10, 0),
            ("reserved", 0, 10),
            ("posted", 1001, 1000),
        }
        with pytest.raises(LedgerError, match="append-only"):
            other.execute("DELETE FROM entries")
        other.close()


def test_ends_amid_a_transaction(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer that settles or releases while its own thread writes is done right after; a reserve is refused."""
    with SqliteStore(tmp_path / "ledger.db") as store:
        accounts = store.accounts
        accounts.put(make_budget("agent=writer", usd=1, name="w"))
        accounts.reserve(ask("gone"))
        accounts.reserve(ask("held", gone=False))
        post = store._writer.book.post
        refused: list[LedgerError] = []
        no_text = make_event(cost_pico=8, model="gpt-5\udc80")

        def interrupted(*args: object) -> None:
            monkeypatch.undo()
            assert accounts.settle("gone", [(make_event(cost_pico=7), None)]) == ["added"]
            assert accounts.settle("unheld", [(no_text, None)]) == ["added"]
            assert accounts.release("held") is True
            with pytest.raises(LedgerError) as caught:
                accounts.reserve(ask("new"))
            refused.append(caught.value)
            post(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(store._writer.book, "post", interrupted)
        store.append(make_event())
        (found,) = accounts.standings()
        assert (found.posted, found.reserved, len(refused)) == (1015, 0, 1)
        assert accounts.audit().holds_true


def test_what_fails_leaves_nothing(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """A settlement whose event cannot be kept leaves the hold as it is, and the next one works."""
    with open_ledger(tmp_path / "ledger.db") as store:
        store.accounts.put(make_budget("agent=writer", usd=1, name="w"))
        store.accounts.reserve(ask("k"))
        with pytest.raises(LedgerError):
            store.accounts.settle("k", [(make_event(error=object()), None)])
        (found,) = store.accounts.standings()
        assert (found.posted, found.reserved) == (0, 10)
        assert store.accounts.settle("k", [(make_event(), None)]) == ["added"]
        assert store.accounts.audit().holds_true


def test_bulk_and_queued_events_post(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Lots, events twice in one lot, and those that a thread writes later."""
    with open_ledger(tmp_path / "ledger.db", durability="queued") as store:
        store.accounts.put(make_budget("agent=*", usd=1, per="day", name="w"))
        store.accounts.put(make_budget(None, calls=10**6, name="calls"))
        twice = make_event()
        lot = [
            twice,
            make_event(at_us=0),
            twice,
            *(make_event(attribution=Attribution(agent=f"a{n}")) for n in range(9)),
        ]
        store.append_many((one, None) for one in lot)
        store.append(make_event())
        store.flush()
        found = {one.place: one.posted for one in store.accounts.standings()}
        assert found["agent=writer"] == 2000 and found["agent=a8"] == 1000 and found["*"] == 12
        assert store.accounts.audit().holds_true


def test_a_subscription_owes_no_dollars(make_event: Callable[..., Event]) -> None:
    """A flat plan's call counts as tokens and calls, not as money."""
    with open_ledger(":memory:") as store:
        store.accounts.put(make_budget(None, usd=1, name="usd"))
        store.accounts.put(make_budget(None, tokens=1000, name="tokens"))
        store.append(make_event(billing="subscription"))
        assert {one.budget.name: one.posted for one in store.accounts.standings()} == {"usd": 0, "tokens": 110}
        assert store.accounts.audit().holds_true


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_holds_in_the_same_accounts(tmp_path: Path) -> None:
    """Parent and child share the limit."""
    with open_ledger(tmp_path / "ledger.db") as store:
        store.accounts.put(make_budget("agent=writer", calls=2, name="two"))
        assert isinstance(store.accounts.reserve(ask("parent")), Hold)
        child = os.fork()
        if not child:
            os._exit(0 if isinstance(store.accounts.reserve(ask("child")), Hold) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not isinstance(store.accounts.reserve(ask("third")), Hold)
        assert store.accounts.audit().holds_true


def test_a_key_that_is_no_text(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """An error of the ledger, whatever is asked with it, and nothing is kept."""
    key = "half \ud800"
    with open_ledger(tmp_path / "ledger.db") as store:
        store.accounts.put(make_budget("agent=writer", usd=1, name="w"))
        for work in (
            lambda: store.accounts.reserve(ask(key)),
            lambda: store.accounts.settle(key, [(make_event(), None)]),
            lambda: store.accounts.dispatch(key),
            lambda: store.accounts.release(key),
            lambda: store.accounts.extend(key, now_us()),
            lambda: store.accounts.hold(key),
        ):
            with pytest.raises(LedgerError, match="is no text"):
                work()
        assert not list(store.events()) and store.accounts.audit().holds_true


def test_old_holds_are_forgotten_after_a_while(tmp_path: Path, make_event: Callable[..., Event]) -> None:
    """Ended ones, after a week; open ones and the entries stay."""
    with open_ledger(tmp_path / "ledger.db") as store:
        store.accounts.put(make_budget("agent=writer", usd=1, name="w"))
        store.accounts.reserve(ask("old"))
        store.accounts.settle("old", [(make_event(), None)])
        later = now_us() + 8 * 86_400 * 1_000_000
        store.accounts.reserve(ask("new")._replace(at_us=later, expires_us=later + 1))
        assert store.accounts.hold("old") is None
        assert store.accounts.audit().holds_true


def test_an_audit_sees_one_moment_and_lets_others_write(
    tmp_path: Path, make_event: Callable[..., Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded and held by another process amid it is neither held up nor seen in part."""
    path = tmp_path / "ledger.db"
    with open_ledger(path) as store, open_ledger(path) as other:
        store.accounts.put(make_budget("agent=writer", usd=1, name="n"))
        store.append(make_event())
        real = audit._replayed
        written: list[str] = []

        def replayed(database: Database) -> object:
            found = real(database)
            written.append(other.append(make_event()))
            return found

        monkeypatch.setattr(audit, "_replayed", replayed)
        assert store.accounts.audit().holds_true
        assert store.accounts.audit().entries == 3
        assert written == ["added", "added"]
        assert [one.posted for one in store.accounts.standings()] == [3_000]


def test_many_due_holds_are_ended_a_lot_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that fits only without them is not refused, and no transaction ends more than a lot of them."""
    with SqliteStore(tmp_path / "ledger.db") as store:
        store.accounts.put(make_budget("agent=writer", calls=2 * holds.LOT + 5))
        for n in range(2 * holds.LOT + 5):
            store.accounts.reserve(ask(f"k{n}", gone=False, seconds=60))
        open_before: list[int] = []
        real = holds.expire

        def expire(database: Database, writer: Writer, at_us: int) -> int:
            open_before.extend(store._reads.rows("SELECT count(*) FROM holds")[0])
            return real(database, writer, at_us)

        monkeypatch.setattr(holds, "expire", expire)
        at = now_us() + 120_000_000
        every = Ask("all", SUBJECT, Amounts(10, 5, 2 * holds.LOT + 5), at, at + 1)
        assert store.accounts.refusals(every._replace(at_us=now_us()))
        assert isinstance(store.accounts.reserve(every), Hold)
        assert open_before == [205, 205, 105, 5]
        assert store.accounts.audit().holds_true
