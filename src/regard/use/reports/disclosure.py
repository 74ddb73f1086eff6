"""Small cells: counts so small that they could point at somebody are not published, nor can they be worked out.

A count of 1 to 9 is hidden. Where a line's total is published, hiding one cell would not hide it, so the next
smallest are hidden with it until what is hidden comes to at least twenty in two cells or more: then each hidden
cell could still be any number from 1 to 9. Where that cannot be had, the total is hidden, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass

K = 10


@dataclass(frozen=True, slots=True)
class Line:
    """Counts by name, None where hidden, and their total."""

    cells: dict[str, int | None]
    total: int | None


def line(counts: Mapping[str, int]) -> Line:
    """The counts as they may be published, the largest first, the hidden last."""
    hidden = {name for name, count in counts.items() if 0 < count < K}
    total: int | None = sum(counts.values())
    shown = sorted((count, name) for name, count in counts.items() if count >= K)
    while hidden and not _safe([counts[name] for name in hidden]):
        if not shown:
            total = None
            break
        hidden.add(shown.pop(0)[1])
    order = sorted(counts, key=lambda name: (name in hidden, 0 if name in hidden else -counts[name], name))
    return Line({name: None if name in hidden else counts[name] for name in order}, total)


def _safe(hidden: list[int]) -> bool:
    return len(hidden) > 1 and sum(hidden) >= 2 * K
