"""A provider's bill beside the ledger: every export that is understood, the verdicts, and whose the rest is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from farthing.errors import InputError
from farthing.ledger.store import Store
from farthing.pricing.catalog import Catalog
from farthing.reports.bills import BillLine, read_bill
from farthing.reports.plain import plain
from farthing.reports.reconcile import Reconciled, reconcile
from farthing.reports.reconcile_page import reconcile_json, reconcile_page, sentence

OCT_5, OCT_6 = 1791158400, 1791244800
CENT = 10**10


def openai_costs(*rows: tuple[int, str, str, str]) -> str:
    """A page of the costs API: (day's beginning, value, line item, key)."""
    buckets: dict[int, list] = {}
    for day, value, item, key in rows:
        buckets.setdefault(day, []).append(
            {
                "object": "organization.costs.result",
                "amount": {"value": value, "currency": "usd"},
                "line_item": item,
                "project_id": "proj_a",
                "api_key_id": key,
            }
        )
    data = [
        {"object": "bucket", "start_time": day, "end_time": day + 86_400, "results": results}
        for day, results in buckets.items()
    ]
    return json.dumps({"object": "page", "data": data, "has_more": False, "next_page": None})


def read(tmp_path: Path, text: str, name: str = "bill.json", provider: str | None = None) -> list[BillLine]:
    (tmp_path / name).write_text(text)
    return read_bill(tmp_path / name, provider)


def compared(lines: list[BillLine], store: Store | None) -> Reconciled:
    found = reconcile(lines, store, Catalog.default())
    assert plain(reconcile_page(found, "note", by_day=True))
    assert reconcile_json(found)["billed_pico"] == found.billed
    return found


def test_a_bill_that_we_see_all_of(tmp_path: Path, store: Store, put) -> None:
    """A dated name on the bill and a plain one in the ledger are one model, and its line items one amount."""
    put("2026-10-05", "gpt-4o", 1_000_000, 100_000)
    lines = read(
        tmp_path, openai_costs((OCT_5, "2.5", "gpt-4o-2024-08-06, input", "k"), (OCT_5, "1", "gpt-4o, output", "k"))
    )
    found = compared(lines, store)
    assert [pair.verdict for pair in found.pairs] == ["matched"]
    assert (found.billed, found.seen, found.covered) == (350 * CENT, 350 * CENT, 350 * CENT)
    assert sentence(found) == "We see 100 % of this bill: $3.50 of $3.50."


def test_the_rest_is_a_key_that_was_never_metered(tmp_path: Path, store: Store, put) -> None:
    """The sentence names its last four characters; the metered key is not blamed."""
    for day in (5, 6):
        put(f"2026-10-0{day}", "gpt-4o", 10_000_000, 0)
    rows = [(day, "25", "gpt-4o, input", "key_production_1111") for day in (OCT_5, OCT_6)]
    rows.append((OCT_6, "3.76", "gpt-4o, input", "key_somebodys_4f2a"))
    found = compared(read(tmp_path, openai_costs(*rows)), store)
    assert sentence(found) == "We see 93 % of this bill: $50.00 of $53.76; the rest, $3.76, is key …4f2a."
    assert {one.name: one.unseen for one in found.unseen if one.kind == "key"} == {
        "key_somebodys_4f2a": 376 * CENT,
        "key_production_1111": 0,
    }
    assert [pair.verdict for pair in found.pairs] == ["matched", "differs"]


def test_missing_extra_and_differing_days(tmp_path: Path, store: Store, put) -> None:
    """Each day and model has one verdict; the cents between add up; plans and other providers are no part of it."""
    put("2026-10-05", "gpt-4o", 1_000_000, 0)
    put("2026-10-06", "gpt-4o-mini", 1_000_000, 0)
    put("2026-10-06", "claude-sonnet-4-5", 1_000_000, 0)
    put("2026-10-05", "gpt-4o", 1_000_000, 0, billing="subscription")
    lines = read(tmp_path, openai_costs((OCT_5, "2.75", "gpt-4o, input", "k"), (OCT_6, "0.5", "gpt-4.1, input", "k")))
    found = compared(lines, store)
    assert {pair.model: pair.verdict for pair in found.pairs} == {
        "gpt-4o": "differs",
        "gpt-4.1": "missing",
        "gpt-4o-mini": "extra",
    }
    assert sum(pair.gap for pair in found.pairs) == found.billed - found.seen == (325 - 265) * CENT
    assert found.covered == 250 * CENT
    assert sentence(found).endswith("The ledger has $0.15 that is not on it.")


def test_anthropics_costs_are_cents(tmp_path: Path, store: Store, put) -> None:
    """`"300.00"` is three dollars."""
    put("2026-10-05", "claude-sonnet-4-5", 1_000_000 // 2, 0, usage=None)
    page = {
        "data": [
            {
                "starting_at": "2026-10-05T00:00:00Z",
                "ending_at": "2026-10-06T00:00:00Z",
                "results": [
                    {
                        "amount": "300.00", "currency": "USD", "cost_type": "tokens", "description": "Sonnet input",
                        "model": "claude-sonnet-4-5-20250929", "token_type": "uncached_input_tokens",
                        "service_tier": "standard", "context_window": "200k-1M", "workspace_id": "wrkspc_01",
                    },
                    {"amount": "0.5", "currency": "USD", "cost_type": "web_search", "model": None},
                ],
            }
        ],
        "has_more": False,
        "next_page": None,
    }  # fmt: skip
    found = compared(read(tmp_path, json.dumps(page)), store)
    assert found.billed == 300 * CENT + CENT // 2
    assert {pair.model: pair.verdict for pair in found.pairs} == {
        "claude-sonnet-4-5": "matched",
        "web_search": "missing",
    }


def test_usage_alone_is_priced_by_us(tmp_path: Path, store: Store, put) -> None:
    """Anthropic's and OpenAI's usage reports, caches, batches and long contexts included, cost what the calls cost."""
    put("2026-10-05", "claude-sonnet-4-5", 1500 + 1500 + 200, 500, cache_read_tokens=200, cache_write_tokens=1500,
        cache_write_1h_tokens=1000, cache_write_5m_tokens=500)  # fmt: skip
    put("2026-10-05", "gpt-4o", 5000, 1000, cache_read_tokens=4000, context={"processing": "batch"})
    anthropic = {
        "data": [
            {
                "starting_at": "2026-10-05T00:00:00Z", "ending_at": "2026-10-06T00:00:00Z",
                "results": [
                    {
                        "uncached_input_tokens": 1500, "cache_read_input_tokens": 200, "output_tokens": 500,
                        "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                        "server_tool_use": {"web_search_requests": 0}, "api_key_id": "apikey_01Rj2N8SVvo6BePZj99NhmiT",
                        "workspace_id": None, "model": "claude-sonnet-4-5-20250929", "service_tier": "standard",
                        "context_window": "0-200k",
                    }
                ],
            }
        ]
    }  # fmt: skip
    openai = {
        "object": "page",
        "data": [
            {
                "object": "bucket", "start_time": OCT_5, "end_time": OCT_6,
                "results": [
                    {
                        "object": "organization.usage.completions.result", "input_tokens": 5000, "output_tokens": 1000,
                        "input_cached_tokens": 4000, "input_audio_tokens": 0, "output_audio_tokens": 0,
                        "num_model_requests": 1, "project_id": "proj_abc", "user_id": "user-abc",
                        "api_key_id": "key_abc", "model": "gpt-4o-2024-08-06", "batch": True, "service_tier": None,
                    }
                ],
            }
        ],
    }  # fmt: skip
    lines = read(tmp_path, json.dumps([anthropic, openai]))
    found = compared(lines, store)
    assert found.priced_by_us and [pair.verdict for pair in found.pairs] == ["matched", "matched"]
    assert found.billed == found.seen
    assert all(pair.billed_tokens == pair.seen_tokens > 0 for pair in found.pairs)
    by_line = "\n".join(json.dumps(page) for page in (anthropic, openai))
    assert read(tmp_path, by_line, "pages.jsonl") == lines


@pytest.mark.parametrize(
    ("name", "text", "billed"),
    [
        (
            "cost.csv",
            "start_time,end_time,start_time_iso,amount_value,amount_currency,line_item,project_id\n"
            f'{OCT_5},{OCT_6},2026-10-05T00:00:00+00:00,2.5000,usd,"gpt-4o-2024-08-06, input",p\n'
            f"{OCT_5},{OCT_6},2026-10-05T00:00:00+00:00,,,,p\n",
            250,
        ),
        (
            "usage.tsv",
            "start_time\tstart_time_iso\tnum_model_requests\tapi_key_id\tmodel\tbatch\tinput_tokens\toutput_tokens\t"
            f"input_cached_tokens\n{OCT_5}\t2026-10-05T00:00:00+00:00\t1\tk\tgpt-4o-2024-08-06\tfalse\t1000000\t0\t0\n",
            250,
        ),
        ("any.csv", "Date;Model;Cost\n2026-10-05;gpt-4o;$2.50\n", 250),
        ("focus.csv", "ChargePeriodStart,BilledCost,BillingCurrency,ProviderName,ResourceName\n"
         "2026-10-05T00:00:00Z,2.50,USD,openai,gpt-4o\n", 250),
    ],
)  # fmt: skip
def test_csv_by_its_columns(tmp_path: Path, store: Store, put, name: str, text: str, billed: int) -> None:
    """OpenAI's exports, FOCUS, and anything with a day, a model and a cost."""
    put("2026-10-05", "gpt-4o", 1_000_000, 0)
    found = compared(read(tmp_path, text, name), store)
    assert found.billed == billed * CENT and found.pairs[-1].verdict == "matched"


def test_anthropics_csv(tmp_path: Path, store: Store, put) -> None:
    """Its columns tell whose it is."""
    put("2026-10-05", "claude-sonnet-4-5", 100_000, 0)
    text = (
        "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd\n"
        "2026-10-05,claude-sonnet-4-5,Default,ci,message,≤ 200k,input_no_cache,0.30\n"
    )
    found = compared(read(tmp_path, text, "x.csv"), store)
    assert found.providers == ("anthropic",) and found.pairs[0].verdict == "matched"
    assert [one.name for one in found.unseen] == ["ci", "Default"]


def test_a_first_look_needs_no_ledger(tmp_path: Path, store: Store) -> None:
    """Without a ledger, or with an empty one, the bill is told by model and key."""
    lines = read(tmp_path, openai_costs((OCT_5, "2.75", "gpt-4o, input", "k"), (OCT_6, "0.5", "gpt-4.1, input", "k")))
    for ledger in (None, store):
        found = compared(lines, ledger)
        assert not found.ledger
        assert sentence(found) == "This bill comes to $3.25, 85 % of it gpt-4o; the ledger has nothing of these days."


def test_an_unknown_model_is_told(tmp_path: Path, store: Store) -> None:
    """Usage of a model without a price is in no amount, and is named."""
    text = "date,model,input_tokens\n2026-10-05,nobody-knows-1,1000\n2026-10-05,gpt-4o,1000\n"
    found = compared(read(tmp_path, text, "u.csv"), store)
    assert found.unknown == ("nobody-knows-1",)
    assert "no price is known" in plain(reconcile_page(found, ""))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", "[1]", "no page of an export"),
        ("a.json", '{"a": 1}', "no usage or cost export"),
        ("a.json", '{"data": []}', "no usage and no costs"),
        ("a.json", '{"data": [{"start_time": "x", "results": [{}]}]}', "no moment"),
        ("a.json", '{"data": [{"start_time": 0, "results": [{"b": 1}]}]}', "no export that is known"),
        ("a.json", '{"data": [{"start_time": 0, "results": [{"amount": {"value": 1, "currency": "eur"}}]}]}', "in EUR"),
        ("a.json", '{"data": [{"start_time": 0, "results": [{"amount": {"value": "x"}}]}]}', "is no amount"),
        ("a.csv", "a,b\n1,2\n", "name no day"),
        ("a.csv", "date,cost\n2026-10-05,abc\n", "a.csv:2: 'abc': is no number"),
        ("a.csv", "date,cost\nnever,1\n", "is no day"),
        ("a.csv", "date,cost,currency\n2026-10-05,1,EUR\n", "in EUR"),
    ],
)
def test_what_is_no_export_says_so(tmp_path: Path, name: str, text: str, words: str) -> None:
    """With the file, the place and the value."""
    with pytest.raises(InputError, match=words):
        read(tmp_path, text, name)
