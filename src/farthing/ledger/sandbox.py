"""The child process that runs a user's SQL, and can be killed: reads its orders from standard input, answers on output.

Walls, each enough alone: the tree of the statement names only our views; the instance can open only the files it was
given, and its settings are locked; the process cannot write a file, and has limits of memory and time.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from farthing.errors import FarthingError
from farthing.ledger import duck, views
from farthing.ledger.statement import check

_SLACK_MB = 2048
"""Address space beyond the instance's own memory limit: the interpreter, libraries and threads' stacks."""


def main() -> None:
    """Answer one order (sql, files, memory_mb, cpu_s, most_rows): {"columns", "types", "rows", "more"} or {"error"}."""
    order = json.load(sys.stdin)
    _limit(order)
    try:
        answer = run(order)
    except FarthingError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except MemoryError:
        answer = {"error": "the question needs more memory than it may have: ask about less", "kind": "LedgerError"}
    json.dump(answer, sys.stdout, ensure_ascii=False)


def _limit(order: dict[str, Any]) -> None:
    memory = (int(order["memory_mb"]) + _SLACK_MB) << 20
    for what, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, int(order["cpu_s"])),
    ):
        hard = resource.getrlimit(what)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))


def run(order: dict[str, Any]) -> dict[str, Any]:
    """The answer to an order."""
    files = order["files"]
    listed = ", ".join(duck.quoted(path) for path in files)
    source = f"read_parquet([{listed}], union_by_name = true)"
    made = [
        f"CREATE VIEW {name} AS {body(source)}" for name, body in (("events", views.events), ("traces", views.traces))
    ]
    query = duck.fenced(made, files, int(order["memory_mb"]))
    sql = str(order["sql"]).strip().rstrip(";")
    ((tree,),) = query.rows("SELECT json_serialize_sql(?::VARCHAR)", (sql,))
    check(json.loads(tree))
    described = query.rows(f"DESCRIBE\n{sql}")
    names = [row[0] for row in described]
    kinds = [row[1] for row in described]
    columns = [f"c{n}" for n in range(len(names))]
    shown = ", ".join(c if kind in _PLAIN else f"{c}::VARCHAR" for c, kind in zip(columns, kinds, strict=True))
    most = int(order["most_rows"])
    rows = query.rows(f"SELECT {shown} FROM (\n{sql}\n) AS t({', '.join(columns)}) LIMIT {most + 1}")
    return {"columns": names, "types": kinds, "rows": rows[:most], "more": len(rows) > most}


_PLAIN = frozenset(
    {
        "BOOLEAN",
        "VARCHAR",
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "UINTEGER",
        "UBIGINT",
        "HUGEINT",
        "DOUBLE",
        "FLOAT",
    }
)
"""Types that JSON says as they are; others are said as text."""


if __name__ == "__main__":
    main()
