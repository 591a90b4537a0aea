"""Names that say nothing: `agent_1` in a report tells nobody where the money goes."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NOTHING = re.compile(
    r"""(my|the|new|main|default|generic)?[-_ .]*
        (agents?|bots?|assistants?|workers?|llm|ai|gpt|model|chain|tool|user|app|service|test(ing)?|tmp|temp|foo|bar|baz
        |demo|example|sample|default|unknown|unnamed|untitled|none|null|undefined|n/?a|todo|xxx+)?
        [-_ .\#]*\d*""",
    re.IGNORECASE | re.VERBOSE,
)


def says_nothing(name: str) -> bool:
    """Whether a name could be anybody's: `agent_1`, `test`, `bot-2`, `my agent`, `7`; blank ones too."""
    return _NOTHING.fullmatch(name.strip()) is not None


def empty_names(names: Iterable[str | None]) -> list[str]:
    """The names among these that say nothing, in their order; a missing name is no name."""
    return [name for name in names if name is not None and says_nothing(name)]
