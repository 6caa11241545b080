"""Which worker makes which cell next: blocks that share a candidate, and stealing when blocks run out.

Pure bookkeeping in the parent: a worker is only ever told of the cell that it makes and perhaps the next one, so half
of a block can go to another worker without asking the first. Knows nothing of processes, GPUs or time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from whichlora.types import Cell


@dataclass
class _Block:
    """Cells that share a candidate, still to be handed out."""

    candidate: str
    cells: deque[Cell]


@dataclass
class Board:
    """The cells of a run that no worker has been told of yet."""

    blocks: Sequence[tuple[str, Sequence[Cell]]]
    """Blocks in the wanted order (see `schedule.blocks`)."""
    weight: Callable[[Cell], float] = lambda _: 1.0
    """Relative cost of a cell, to find the largest block left."""
    _free: deque[_Block] = field(init=False)
    _owned: dict[Hashable, _Block] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._free = deque(_Block(name, deque(cells)) for name, cells in self.blocks if cells)

    def __len__(self) -> int:
        """Cells not handed out."""
        return sum(len(block.cells) for block in (*self._free, *self._owned.values()))

    def next(self, worker: Hashable, *, own_only: bool = False) -> Cell | None:
        """The next cell for a worker: of its block, else of the first free block, else of half of the largest one.

        Args:
            worker: Who.
            own_only: Only of its block; None at the end of that.
        """
        block = self._owned.get(worker)
        if block is None or not block.cells:
            if own_only:
                return None
            self._owned.pop(worker, None)
            block = self._free.popleft() if self._free else self._steal()
            if block is None:
                return None
            self._owned[worker] = block
        return block.cells.popleft()

    def like(self, worker: Hashable, fits: Callable[[Cell], bool]) -> Cell | None:
        """The first cell of a worker's own block that fits, to be made together with the one just handed out."""
        block = self._owned.get(worker)
        found = next((cell for cell in block.cells if fits(cell)), None) if block is not None else None
        if block is not None and found is not None:
            block.cells.remove(found)
        return found

    def after(self, worker: Hashable) -> str | None:
        """Candidate that this worker will probably visit after its present block; None when nothing is free."""
        own = self._owned.get(worker)
        names = (block.candidate for block in self._free)
        return next((name for name in names if own is None or name != own.candidate), None)

    def give_back(self, worker: Hashable, cells: Sequence[Cell] = ()) -> None:
        """A worker is gone: the rest of its block is free again, behind the cells that it was told of.

        Args:
            worker: Who.
            cells: What it was told of and did not finish, in order.
        """
        block = self._owned.pop(worker, None)
        if block is not None and block.cells:
            self._free.appendleft(block)
        for cell in reversed(cells):
            first = self._free[0] if self._free else None
            if first is not None and first.candidate == cell.candidate:
                first.cells.appendleft(cell)
            else:
                self._free.appendleft(_Block(cell.candidate, deque([cell])))

    def drop_candidate(self, candidate: str) -> list[Cell]:
        """Take away all cells of a candidate that are not handed out, and return them."""
        dropped: list[Cell] = []
        for block in (*self._free, *self._owned.values()):
            if block.candidate == candidate:
                dropped.extend(block.cells)
                block.cells.clear()
        self._free = deque(block for block in self._free if block.cells)
        return dropped

    def blocks_left(self) -> int:
        """Blocks that no worker has begun: so many changes of weights are to come at least."""
        return len(self._free)

    def _steal(self) -> _Block | None:
        """The later half of the largest block that another worker is at."""
        rest = [block for block in self._owned.values() if block.cells]
        if not rest:
            return None
        largest = max(rest, key=lambda block: sum(map(self.weight, block.cells)))
        half = (len(largest.cells) + 1) // 2
        stolen = [largest.cells.pop() for _ in range(half)]
        return _Block(largest.candidate, deque(reversed(stolen)))
