"""The rules of the house, as tests: who may import whom, sizes, names, documentation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "farthing"
FILES = sorted(SRC.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}

# Each layer may import the layers to its left, and itself unless it is a layer of siblings.
LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "money", "usage", "event", "totals", "scopes", "amounts", "policy", "windows"}),
    frozenset({"config"}),
    frozenset({"pricing", "ledger"}),
    frozenset({"budgets"}),
    frozenset({"reports"}),
    frozenset({"optimize"}),
    frozenset({"tracker", "details", "recording", "running", "answers", "questions", "traces", "testing", "tenants"}),
    frozenset({"capture"}),
    frozenset({"alerts", "classic"}),
    frozenset({"server"}),
    frozenset({"cli", "sample", "__main__"}),
)
ONE_FAMILY = (
    {"errors", "money", "usage", "event", "totals", "scopes", "amounts", "policy", "windows"},
    {"tracker", "details", "recording", "running", "answers", "questions", "traces", "testing", "tenants"},
    {"cli", "sample", "__main__"},
)
VALUES = {"errors", "money", "usage", "event", "totals", "scopes", "amounts", "policy", "windows"}

# A vendor's library is imported in one file of ours. click is the language the command line is written in.
VENDOR_FILES = {"apsw": 1, "genai_prices": 1, "rich": 1, "platformdirs": 1, "duckdb": 1, "arro3": 1}
# What the host program may use and we never require.
VENDOR_FILES |= {"opentelemetry": 1, "langfuse": 1, "langchain_core": 1}
STANDARD = set(sys.stdlib_module_names) | {"farthing"}

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 500, 70, 8
# The faces of the library, whose parameters are what users type.
WIDE_BY_DESIGN: set[str] = set()
# Faults inside farthing stop at these boundaries, where they are counted and logged: the host program goes on.
FAULT_BOUNDARIES = {"tracker.py", "faults.py"}


def component(path: Path) -> str:
    """The top-level part of the package a file belongs to: pricing/rate.py -> pricing."""
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """(statement, absolute module name) of every import in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            if node.module == "farthing":
                for alias in node.names:
                    yield node, f"farthing.{alias.name}"
            else:
                yield node, node.module or ""


def layer_of(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_import_only_what_lies_to_their_left(path: Path) -> None:
    """The arrows of docs/architecture.md hold; siblings do not import each other."""
    mine = component(path)
    if mine == "__init__":
        return
    for node, module in imports(TREES[path]):
        if not module.startswith("farthing."):
            continue
        other = module.split(".")[1]
        if other == mine or any({mine, other} <= family for family in ONE_FAMILY):
            continue
        if other in ("__version__", "version"):
            continue
        assert layer_of(other) < layer_of(mine), f"{path.name}:{node.lineno}: {mine} may not import {other}"


def test_no_import_cycles() -> None:
    """Modules form a tree of knowledge, not a circle."""
    names = {
        ".".join(("farthing", *p.relative_to(SRC).with_suffix("").parts)).removesuffix(".__init__"): p for p in FILES
    }
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        graph[name] = set()
        for node, module in imports(TREES[path]):
            wanted = [module]
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
            found = next((w for w in wanted if w in names and w != name), None)
            if found and not _under_type_checking(TREES[path], node):
                graph[name].add(found)
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in graph[name]:
                visit(other, (*trail, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def _under_type_checking(tree: ast.Module, wanted: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and wanted in ast.walk(node)
        for node in ast.walk(tree)
    )


def test_a_vendors_library_is_imported_in_one_file() -> None:
    """What we depend on can be replaced in one place."""
    where: dict[str, set[str]] = {}
    for path in FILES:
        for _, module in imports(TREES[path]):
            if module.split(".")[0] not in STANDARD:
                where.setdefault(module.split(".")[0], set()).add(str(path.relative_to(SRC)))
    for vendor, limit in VENDOR_FILES.items():
        assert len(where.get(vendor, ())) <= limit, f"{vendor} is imported in {sorted(where[vendor])}"
    strays = {f for f in where.get("click", ()) if not f.startswith("cli/")}
    assert not strays, f"click is imported outside the command line: {strays}"
    assert set(where) <= {*VENDOR_FILES, "click"}, f"undeclared vendors: {set(where) - {*VENDOR_FILES, 'click'}}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_inside_functions_are_of_slow_vendors_only(path: Path) -> None:
    """An import in a function is a cost decision, not a way around a cycle."""
    for function in ast.walk(TREES[path]):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name != "__getattr__":
            for node, module in imports(function):
                assert module.split(".")[0] in VENDOR_FILES, (
                    f"{path.name}:{node.lineno}: import {module} in {function.name}"
                )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_sizes(path: Path) -> None:
    """Files, functions and parameter lists stay small enough to be read at once."""
    lines = path.read_text().count("\n")
    assert lines <= MAX_FILE_LINES, f"{path.name}: {lines} lines"
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{path.name}:{node.lineno} {node.name}: {length} lines"
        count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs)
        if not _is_command(node) and node.name not in WIDE_BY_DESIGN:
            assert count <= MAX_PARAMETERS, f"{path.name}:{node.lineno} {node.name}: {count} parameters"


def _is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """The parameters of a command are its options, one each."""
    return any(re.search(r"command\(|group\(", ast.unparse(decorator)) for decorator in function.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_broad_excepts_stand_at_the_fault_boundary_only(path: Path) -> None:
    """A broad except anywhere else hides faults instead of counting them."""
    if path.name in FAULT_BOUNDARIES:
        return
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ExceptHandler):
            kind = "" if node.type is None else ast.unparse(node.type)
            assert kind not in ("", "Exception", "BaseException"), (
                f"{path.name}:{node.lineno}: except {kind or '(bare)'}"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_every_public_name_says_what_it_is(path: Path) -> None:
    """Modules, public classes, functions and methods have a docstring."""
    tree = TREES[path]
    assert ast.get_docstring(tree) or not tree.body, f"{path.name}: no module docstring"

    def check(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if any("overload" in ast.unparse(d) or ".setter" in ast.unparse(d) for d in node.decorator_list):
                continue
            assert ast.get_docstring(node), f"{path.name}:{node.lineno}: {owner}{node.name} has no docstring"
            if isinstance(node, ast.ClassDef) and "Protocol" not in {ast.unparse(b) for b in node.bases}:
                check(node.body, f"{node.name}.")

    check(tree.body, "")


def test_import_farthing_is_light() -> None:
    """`import farthing` loads only the standard library: no vendor's library, no price data, no database."""
    code = "import sys; before = set(sys.modules); import farthing; print(*sorted(set(sys.modules) - before))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    strangers = {name.split(".")[0] for name in out.split()} - STANDARD
    assert not {s for s in strangers if not s.startswith("_")}, strangers


def test_the_project_speaks_of_itself_alone() -> None:
    """No machine's paths and no registry's address in any file that is kept."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    forbidden = re.compile(
        "|".join(
            (r"/wo" r"rk/", r"/ro" r"ot/", r"py" r"pi\.org", r"python" r"hosted", r"registry\.np" r"mjs", r"/farm" r"/")
        )
    )
    for name in listed:
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 2_000_000:
            found = forbidden.search(path.read_text(errors="replace"))
            assert not found, f"{name}: {found.group() if found else ''}"
