"""Attribution that crosses processes arrives as it left, and a stranger's headers can do no harm."""

from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farthing.capture.context import attribute
from farthing.capture.headers import MAX_METADATA, MAX_VALUE, headers_in, headers_out
from farthing.event import ATTRIBUTION_FIELDS, Attribution

HOSTS = ("gateway.internal", "*.corp.example")
ALL = ("h",)

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40).filter(
    lambda s: s == s.strip()
)
attributions = st.builds(
    lambda fields, metadata: Attribution(**fields, metadata=MappingProxyType(metadata)),
    st.dictionaries(st.sampled_from(ATTRIBUTION_FIELDS), texts, max_size=6),
    st.dictionaries(texts, texts, max_size=5),
)


@given(who=attributions)
def test_what_is_sent_arrives(who: Attribution) -> None:
    """By headers of its own and by baggage alike, whatever the characters."""
    sent = headers_out("h", ALL, who)
    assert all(name.isascii() and value.isascii() and "\n" not in value for name, value in sent.items())
    own = {name: value for name, value in sent.items() if name != "baggage"}
    baggage = {name: value for name, value in sent.items() if name == "baggage"}
    for way in (sent, own, baggage):
        found = headers_in(way)
        assert (found.attribution.to_dict(), found.ignored) == (who.to_dict(), 0)


@given(headers=st.dictionaries(st.text(max_size=30).map(lambda s: f"x-farthing-{s}"), st.text(max_size=60)))
def test_no_headers_raise(headers: dict[str, str]) -> None:
    """What comes in is anybody's."""
    found = headers_in({**headers, "baggage": ",".join(headers.values())})
    assert found.ignored >= 0


def test_only_named_hosts_are_told() -> None:
    """Who pays is nobody else's business: a provider's API gets no headers of ours."""
    with attribute("a"):
        assert headers_out("api.openai.com", HOSTS) == {}
        assert headers_out("evilcorp.example", HOSTS) == {}
        assert headers_out("gateway.internal.evil.com", HOSTS) == {}
        for host in ("gateway.internal", "Gateway.Internal:8080", "llm.corp.example", "a.b.corp.example:1"):
            assert headers_out(host, HOSTS) == {"x-farthing-agent": "a", "baggage": "farthing.agent=a"}
    assert headers_out("gateway.internal", HOSTS) == {}


def test_others_baggage_is_kept() -> None:
    """Members of other tools pass through; an older word of ours is replaced."""
    sent = headers_out("h", ALL, Attribution(agent="new"), baggage="tenant=7;p=1, farthing.agent=old")
    assert sent["baggage"] == "tenant=7;p=1,farthing.agent=new"


def test_headers_of_any_form_are_read() -> None:
    """Any case of letters, bytes as ASGI has them, underscores and hyphens; our own headers go before baggage."""
    found = headers_in(
        [
            (b"X-Farthing-Agent", b"researcher"),
            (b"baggage", b"farthing.agent=other,farthing.session=s%201;ttl=3,userId=alice"),
            ("x-farthing-cost_center", "R%26D"),
            ("X-Farthing-Metadata-Ticket", "ABC-1"),
            ("content-type", "text/plain"),
        ]
    )
    assert found.attribution == Attribution(
        agent="researcher", session="s 1", cost_center="R&D", metadata={"ticket": "ABC-1"}
    )
    assert found.ignored == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-farthing-agnt", "a"),
        ("x-farthing-agent", "%ff"),
        ("x-farthing-agent", "100%"),
        ("x-farthing-agent", "a%0d%0aset-cookie: x"),
        ("x-farthing-agent", "x" * (MAX_VALUE + 1)),
        ("x-farthing-agent", "%20"),
        ("x-farthing-metadata-", "x"),
        ("x-farthing-metadata-%00", "x"),
        ("baggage", "farthing.agent=%zz"),
        ("baggage", "farthing.agent"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(name: str, value: str) -> None:
    """Nothing of it reaches the ledger, and the number of such values can be told."""
    found = headers_in({name: value})
    assert (found.attribution, found.ignored) == (Attribution(), 1)


def test_metadata_is_bounded() -> None:
    """A stranger cannot fill the ledger with keys."""
    found = headers_in({f"x-farthing-metadata-k{i}": "v" for i in range(MAX_METADATA + 5)})
    assert (len(found.attribution.metadata), found.ignored) == (MAX_METADATA, 5)
    sent = headers_out("h", ALL, Attribution(metadata={f"k{i}": "v" for i in range(MAX_METADATA + 5)}))
    assert len(sent) == MAX_METADATA + 1
