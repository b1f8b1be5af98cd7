"""Which state of prompts that were read is kept, so that a prompt is read only from where it leaves the known ones.

A radix tree: each node is a run of tokens with its keys and values, and what two prompts have in common is kept once.
Layers with full attention go on from any position. Layers with a sliding window go on only where the keys and values
of the window before it are kept as well, so these are kept with every node while there is room, and after that at the
places where prompts have ended or parted, and every so often between them.

Knows no MLX: what is kept is a `State`. Knows no requests either: all callers share the tree, and each is told how much
of its prompt was known. Callers that must not learn of each other's prompts need a tree each, or a token of their own
in front of every prompt.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, Self, TypeVar

from llm_server.engine.types import PrefixCacheStatistics

_WINDOW_EVERY: Final = 1024
"""Tokens between windows that are kept as long as their node: what is read again at most after an unforeseen change."""

_TOKEN_BYTES: Final = 40
"""What a token costs beside its keys and values: its id as a Python integer in a list."""

_MOST_USES: Final = 8
"""Uses that count. Each time that a node is the least recently used one, half of them are forgotten."""


class State(Protocol):
    """The keys and values of a run of tokens: of full layers for all, of windowed layers for the last `windowed`."""

    @property
    def nbytes(self) -> int: ...

    @property
    def windowed(self) -> int: ...

    def without_window(self) -> Self: ...

    def split(self, at: int) -> tuple[Self, Self]:
        """The state of the first `at` tokens and of the others, in memory of their own."""


S = TypeVar("S", bound=State)


@dataclass(frozen=True, slots=True)
class Match(Generic[S]):
    """What is known of a prompt: it can be read from `position` on, which is before its last token.

    `states` are those of its first tokens in order, and the last of them may go beyond `position`. `shared` tokens are
    those of some sequence that is kept. For `diverged_at` see `Started`.
    """

    position: int
    shared: int
    diverged_at: int
    states: list[S]


@dataclass(eq=False, slots=True)
class _Node(Generic[S]):
    """A run of at least one token. `asked` of its first tokens have come in a prompt, the others were only decoded.

    `anchored`: its window stays as long as the node itself.
    """

    parent: _Node[S] | None
    start: int
    tokens: list[int]
    state: S
    asked: int
    uses: int = 0
    anchored: bool = False
    children: dict[int, _Node[S]] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        return self.start + len(self.tokens)

    @property
    def nbytes(self) -> int:
        return self.state.nbytes + _TOKEN_BYTES * len(self.tokens)


class PrefixCache(Generic[S]):
    """At most `budget` bytes of state, for a model whose windowed layers see `window` tokens.

    What was used least recently goes first: interior windows, then whole leaves. A run of tokens that several prompts
    begin with is thus never gone before all that follows it, and gets further chances by how often it was used.
    """

    def __init__(self, *, budget: int, window: int) -> None:
        self._window = window
        self._budget = self._limit = budget
        self._roots: dict[int, _Node[S]] = {}
        self._order: OrderedDict[_Node[S], None] = OrderedDict()  # every node comes before its parent
        self._thinnable: OrderedDict[_Node[S], None] = OrderedDict()
        self._bytes = 0
        self._queries = 0
        self._hits = 0
        self._evictions: Counter[str] = Counter()

    @property
    def statistics(self) -> PrefixCacheStatistics:
        return PrefixCacheStatistics(self._bytes, len(self._order), self._queries, self._hits, dict(self._evictions))

    def match(self, prompt: list[int]) -> Match[S]:
        """The longest beginning of a prompt from which it can be read on. Its last token is never part of it."""
        path, shared = self._walk(prompt)
        position = self._resumable(path, min(shared, len(prompt) - 1))
        used = [node for node in path if node.start < position]
        for node in used:
            node.uses = min(node.uses + 1, _MOST_USES)
        self._touch(used)
        self._anchor(used, position)
        self._queries += len(prompt)
        self._hits += position
        return Match(position, shared, self._divergence(prompt, path, shared), [node.state for node in used])

    def store(
        self,
        tokens: list[int],
        read: Callable[[int, int], S],
        *,
        since: int,
        asked: int,
        complete: bool,
        anchors: Collection[int] = (),
    ) -> bool:
        """Keep the state of `tokens`, of which a sequence has just read those from `since` on.

        `read` gives the state of a range of them, and is asked only for what is missing. The first `asked` tokens are
        a prompt's. What does not fill a window yet is left for later, unless the sequence is `complete`. At `anchors`
        other prompts are likely to go on.

        Returns whether the sequence is kept so far. It is not if what is before `since` has been evicted.
        """
        path, known = self._walk(tokens)
        if known <= since - self._window:
            return False
        stop = len(tokens) if complete else len(tokens) - (len(tokens) - known) % self._window
        parts_here = known < len(tokens) or known in anchors
        if path and known < path[-1].stop and parts_here:
            path[-1] = self._split(path[-1], known - path[-1].start)
        self._renew_windows([node for node in path if since < node.stop <= known], read)
        while known < stop:
            size = min(self._window, stop - known)
            path.append(self._attach(path, tokens[known : known + size], read(known, known + size)))
            known += size
        for node in path:
            node.asked = max(node.asked, min(asked, known, node.stop) - node.start)
        self._touch(path)
        for anchor in anchors:
            if since < anchor <= known:
                self._anchor(path, anchor)
        self._shrink("budget")
        return path[-1] in self._order if path else True

    def lend(self, nbytes: int) -> None:
        """Do without so much of the budget, for those who need the memory now."""
        self._limit = max(0, self._budget - nbytes)
        self._shrink("memory")

    def clear(self) -> None:
        """Forget everything, because it can not be trusted."""
        if self._order:
            self._evictions["reset"] += len(self._order)
        self._roots.clear()
        self._order.clear()
        self._thinnable.clear()
        self._bytes = 0

    def _walk(self, tokens: list[int]) -> tuple[list[_Node[S]], int]:
        """The nodes that hold the beginning of `tokens`, and how many of them. The last node may go on differently."""
        path: list[_Node[S]] = []
        children, position = self._roots, 0
        while position < len(tokens) and (node := children.get(tokens[position])) is not None:
            path.append(node)
            common = _common(node.tokens, tokens[position : position + len(node.tokens)])
            position += common
            if common < len(node.tokens):
                break
            children = node.children
        return path, position

    def _resumable(self, path: list[_Node[S]], limit: int) -> int:
        """The last position up to `limit` with a whole window before it."""
        for last in reversed(range(len(path))):
            position = min(limit, path[last].stop)
            if position > path[last].start and self._has_window(path[: last + 1], position):
                return position
        return 0

    def _has_window(self, path: list[_Node[S]], position: int) -> bool:
        needed = min(self._window, position)
        for node in reversed(path):
            first = node.stop - node.state.windowed
            if position - first >= needed:
                return True
            if first > node.start:
                return False
            needed -= position - node.start
            position = node.start
        return False

    def _divergence(self, prompt: list[int], path: list[_Node[S]], shared: int) -> int:
        if shared == len(prompt):
            return -1
        if path and shared < path[-1].stop:
            differs = shared - path[-1].start < path[-1].asked
        else:
            differs = any(child.asked for child in self._children(path).values())
        return shared if differs else -1

    def _children(self, path: list[_Node[S]]) -> dict[int, _Node[S]]:
        return path[-1].children if path else self._roots

    def _renew_windows(self, nodes: list[_Node[S]], read: Callable[[int, int], S]) -> None:
        """Windows that have been given up come back when their tokens are read again."""
        for node in nodes:
            if node.state.windowed < len(node.tokens):
                state = read(node.start, node.stop)
                if state.windowed > node.state.windowed:
                    self._replace_state(node, state)
                    self._may_thin(node)

    def _attach(self, path: list[_Node[S]], tokens: list[int], state: S) -> _Node[S]:
        parent = path[-1] if path else None
        node = _Node(parent, parent.stop if parent else 0, tokens, state, asked=0)
        self._children(path)[tokens[0]] = node
        self._add(node)
        self._may_thin(node)
        return node

    def _split(self, node: _Node[S], at: int) -> _Node[S]:
        """Make a node of the first `at` tokens, and return it; the others remain in the old one, below it."""
        above, below = node.state.split(at)
        upper = _Node(node.parent, node.start, node.tokens[:at], above, min(node.asked, at), node.uses, node.anchored)
        (node.parent.children if node.parent else self._roots)[node.tokens[0]] = upper
        self._bytes -= node.nbytes
        node.parent, node.start, node.tokens, node.state = upper, upper.stop, node.tokens[at:], below
        node.asked = max(0, node.asked - at)
        self._bytes += node.nbytes
        upper.children[node.tokens[0]] = node
        self._add(upper)
        if node in self._thinnable:
            self._may_thin(upper)
        return upper

    def _add(self, node: _Node[S]) -> None:
        self._order[node] = None
        self._bytes += node.nbytes

    def _replace_state(self, node: _Node[S], state: S) -> None:
        self._bytes += state.nbytes - node.state.nbytes
        node.state = state

    def _may_thin(self, node: _Node[S]) -> None:
        holds_mark = node.start // _WINDOW_EVERY != node.stop // _WINDOW_EVERY
        if node.state.windowed and not node.anchored and not holds_mark:
            self._thinnable[node] = None

    def _anchor(self, path: list[_Node[S]], position: int) -> None:
        """Keep the window before a position."""
        needed = self._window
        for node in reversed(path):
            if node.start < position and needed > 0:
                node.anchored = True
                self._thinnable.pop(node, None)
                needed -= position - node.start
                position = node.start

    def _touch(self, path: list[_Node[S]]) -> None:
        """These are now the most recently used ones, and each still comes before its parent."""
        for node in reversed(path):
            self._order.move_to_end(node)

    def _shrink(self, reason: str) -> None:
        while self._bytes > self._limit:
            if self._thinnable:
                node, _ = self._thinnable.popitem(last=False)
                self._replace_state(node, node.state.without_window())
                self._evictions["window"] += 1
            else:
                self._evict(next(iter(self._order)), reason)

    def _evict(self, node: _Node[S], reason: str) -> None:
        """Drop the least recently used node, a leaf, unless it has been used so often that it gets another chance."""
        if node.uses > 1:
            node.uses //= 2
            self._touch(self._ancestry(node))
            return
        del (node.parent.children if node.parent else self._roots)[node.tokens[0]]
        del self._order[node]
        self._bytes -= node.nbytes
        self._evictions[reason] += 1

    def _ancestry(self, node: _Node[S]) -> list[_Node[S]]:
        path = [node]
        while path[-1].parent is not None:
            path.append(path[-1].parent)
        return path[::-1]


def _common(first: list[int], second: list[int]) -> int:
    """How many tokens two lists begin with alike."""
    if first == second:
        return len(first)
    pairs = zip(first, second, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(first), len(second)))
