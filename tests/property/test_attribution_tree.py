"""However agents nest and whatever runs them at once, each node's totals are the sum of what happens in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farthing import scopes, testing
from farthing.capture.context import AgentRun, agent_run, propagate, session
from farthing.capture.decorators import track
from farthing.capture.threads import follow_threads, leave_threads
from farthing.tracker import CostTracker

WAYS = ("plain", "gather", "group", "pool", "followed pool", "to_thread", "generator", "async generator")


@dataclass
class Node:
    """An agent: its own calls' tokens, how it runs its children, and the children."""

    calls: list[int]
    way: str
    children: list[Node] = field(default_factory=list)
    run: AgentRun | None = None

    def total(self) -> int:
        return sum(self.calls) + sum(child.total() for child in self.children)

    def number(self) -> int:
        return len(self.calls) + sum(child.number() for child in self.children)

    def runs(self) -> int:
        return sum(1 + child.runs() for child in self.children)

    def walk(self) -> Iterator[Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def leaves() -> st.SearchStrategy[Node]:
    return st.builds(Node, st.lists(st.integers(0, 10**6), max_size=3), st.sampled_from(WAYS))


trees = st.recursive(
    leaves(),
    lambda inner: st.builds(
        Node, st.lists(st.integers(0, 10**6), max_size=3), st.sampled_from(WAYS), st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


class Runner:
    """Runs a tree: every node half of its calls before its children and half after."""

    def __init__(self, tracker: CostTracker) -> None:
        self.tracker = tracker
        self.names = count()

    def call(self, tokens: int) -> None:
        self.tracker.record("m", tokens, 0)

    async def node(self, node: Node) -> None:
        half = len(node.calls) // 2
        with agent_run(f"agent-{next(self.names)}") as node.run:
            for tokens in node.calls[:half]:
                self.call(tokens)
                await asyncio.sleep(0)
            await self.children(node)
            for tokens in node.calls[half:]:
                self.call(tokens)

    def in_thread(self, node: Node) -> None:
        asyncio.run(self.node(node))

    async def children(self, node: Node) -> None:
        if node.way == "plain":
            for child in node.children:
                await self.node(child)
        elif node.way == "gather":
            await asyncio.gather(*(self.node(child) for child in node.children))
        elif node.way == "group":
            async with asyncio.TaskGroup() as group:
                for child in node.children:
                    group.create_task(self.node(child))
        elif node.way == "to_thread":
            await asyncio.gather(*(asyncio.to_thread(self.in_thread, child) for child in node.children))
        elif node.way == "pool":
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(propagate(self.in_thread), node.children))
        elif node.way == "followed pool":
            with ThreadPoolExecutor(2) as pool:
                for done in [pool.submit(self.in_thread, child) for child in node.children]:
                    done.result()
        elif node.way == "generator":
            await self.interleaved(node)
        else:
            await self.streamed(node)

    async def interleaved(self, node: Node) -> None:
        """Generators consumed in turns: each call of a child falls between calls of its siblings."""

        def work(child: Node) -> Iterator[None]:
            child.run = scopes.current().scope  # type: ignore[union-attr,assignment]
            for tokens in child.calls:
                self.call(tokens)
                yield
            with ThreadPoolExecutor(1) as pool:  # a generator cannot await its own children
                pool.submit(propagate(asyncio.run), self.children(child)).result()
            yield

        waiting = [track(f"agent-{next(self.names)}")(work)(child) for child in node.children]
        while waiting:
            for generator in tuple(waiting):
                if next(generator, "over") == "over":
                    waiting.remove(generator)

    async def streamed(self, node: Node) -> None:
        async def work(child: Node) -> AsyncIterator[int]:
            child.run = scopes.current().scope  # type: ignore[union-attr,assignment]
            for tokens in child.calls:
                self.call(tokens)
                yield tokens
            await self.children(child)

        async def consume(child: Node) -> None:
            async for _ in track(f"agent-{next(self.names)}")(work)(child):
                await asyncio.sleep(0)

        await asyncio.gather(*(consume(child) for child in node.children))


@pytest.fixture(autouse=True)
def _followed() -> Iterator[None]:
    follow_threads()
    yield
    leave_threads()


@settings(max_examples=60)
@given(tree=trees)
def test_every_node_knows_the_sum_of_its_tree(tree: Node) -> None:
    """Live totals of each run, and the ledger's by agent, are exactly what happened inside; nothing leaks."""
    with testing.tracker({"m": (1, 2)}) as tracker:
        with session("s") as whole:
            asyncio.run(Runner(tracker).node(tree))
        assert scopes.current() is None
        assert (whole.input_tokens, whole.llm_calls) == (tree.total(), tree.number())
        assert whole.agent_runs == 1 + tree.runs()
        for node in tree.walk():
            assert node.run is not None
            assert node.run.input_tokens == node.total()
            assert node.run.totals.cost_pico == node.total() * 10**6
            assert (node.run.llm_calls, node.run.agent_runs) == (node.number(), node.runs())
        own = {node.run.agent: sum(node.calls) for node in tree.walk() if node.run and node.calls}
        rows = {row.key[0]: row.totals.input_tokens for row in tracker.breakdown("agent", session="s")}
        assert rows == own
