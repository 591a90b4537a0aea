"""Which SQL a user may run: one SELECT over `events` and `traces`, by its tree. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from farthing.errors import InputError

VIEWS = ("events", "traces")

_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_SOURCES = frozenset({"BASE_TABLE", "JOIN", "SUBQUERY", "EMPTY", "EMPTY_FROM", "EXPRESSION_LIST"})
_FUNCTIONS = frozenset(
    {"current_setting", "getenv", "getvariable", "nextval", "currval", "write_log", "query", "query_table"}
)
_NAME = re.compile(r"(?!duckdb_|pg_|sqlite_|pragma)[a-z_][a-z0-9_]*", re.IGNORECASE)


def check(tree: Mapping[str, Any]) -> None:
    """InputError where the tree (of `json_serialize_sql`) is anything but one SELECT over our views."""
    if tree.get("error"):
        said = str(tree.get("error_message") or "it cannot be read")
        if "Only SELECT" in said:
            raise InputError("only one SELECT may be run here: it reads, and changes nothing")
        raise InputError(f"this SQL cannot be read: {said}")
    statements = tree.get("statements") or []
    if not statements:
        raise InputError(f"there is no SQL to run: write a SELECT over {' and '.join(VIEWS)}")
    if len(statements) != 1:
        raise InputError(f"one SELECT may be run at a time, not {len(statements)} statements")
    named = set(VIEWS)
    for node in _walk(statements):
        for entry in (node.get("cte_map") or {}).get("map") or []:
            named.add(_cte(str(entry.get("key"))))
    for node in _walk(statements):
        _check_node(node, named)


def _walk(value: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _cte(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot name a part of a query here: use letters, digits and _")
    return name.lower()


def _check_node(node: Mapping[str, Any], named: set[str]) -> None:
    kind = node.get("type")
    if "from_table" in node or "cte_map" in node:
        if kind not in _NODES:
            raise InputError(f"only SELECT may be used here, not {kind}")
        if isinstance(node.get("from_table"), dict):
            _check_source(node["from_table"])
    if kind == "JOIN" and "left" in node and "right" in node and "join_type" in node:
        _check_source(node["left"])
        _check_source(node["right"])
    if kind == "BASE_TABLE":
        _check_table(node, named)
    elif kind in ("TABLE_FUNCTION", "SHOW_REF", "PIVOT", "COLUMN_DATA", "DELIM_GET", "BOUND_TABLE_REF"):
        raise InputError(f"no table functions here: read from {' and '.join(VIEWS)}")
    if str(node.get("function_name", "")).lower() in _FUNCTIONS:
        raise InputError(f"the function {node['function_name']} is not for use here")


def _check_source(source: Mapping[str, Any]) -> None:
    if source.get("type") not in _SOURCES:
        kind = str(source.get("type")).lower().replace("_", " ")
        raise InputError(f"only {' and '.join(VIEWS)}, joins and subqueries can be read from, not a {kind}")


def _check_table(node: Mapping[str, Any], named: set[str]) -> None:
    name = str(node.get("table_name"))
    path = (node.get("qualified_name") or {}).get("path") or [name]
    if node.get("schema_name") or node.get("catalog_name") or len(path) != 1 or name.lower() not in named:
        shown = ".".join(str(part) for part in path)
        raise InputError(f"there is no table {shown!r}: read from {' and '.join(VIEWS)}")
