"""Where everything lies on a sheet, and how much of an answer fits on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

# All lengths are pixels.
MARGIN = 36
HEADER = 44
CAPTION = 54  # below each tile
GAP = 18  # between tiles
GUTTER = 56  # between a reference and its matches
BLOCK_GAP = 44  # between one reference and the next
FOOTER = 40

# The side of a tile, by how many photos there are to draw. Smaller ones follow where even these make
# the sheet too large, and below the last one photos are left out.
TILES = ((4, 340), (12, 280), (60, 240), (math.inf, 200))
SMALLER_TILES = (168, 144)  # the smallest holds a rank, a distance and a probability side by side
MOST_COLUMNS = 16
# With several references, a short answer stays on one line; a long one fills lines of this many.
SHORT_ANSWER = 6
LONG_LINE = 10

# 120 MB of memory; and no side longer than most viewers show (32,767).
MAX_PIXELS = 40_000_000
MAX_SIDE = 30_000


@dataclass(frozen=True, slots=True)
class Layout:
    """How large everything is, and how many matches of each reference are drawn.

    Attributes:
        tile: The side of a match's tile.
        columns: Tiles in one line of the grid.
        span: How many lines of the grid the reference is high.
        shown: For each reference that is drawn, the number of its matches that are.
    """

    tile: int
    columns: int
    span: int
    shown: tuple[int, ...]

    @property
    def cell(self) -> int:
        """Give the height of a tile with its caption."""
        return self.tile + CAPTION

    @property
    def reference(self) -> int:
        """Give the side of a reference's tile."""
        return self.span * (self.cell + GAP) - GAP - CAPTION

    @property
    def grid_left(self) -> int:
        """Give the left edge of the matches."""
        return MARGIN + self.reference + GUTTER

    @property
    def grid_width(self) -> int:
        """Give the width of the matches."""
        return self.columns * (self.tile + GAP) - GAP

    @property
    def width(self) -> int:
        """Give the width of the sheet."""
        return self.grid_left + self.grid_width + MARGIN

    @property
    def height(self) -> int:
        """Give the height of the sheet."""
        blocks = sum(self.block(shown) + BLOCK_GAP for shown in self.shown)
        return MARGIN + HEADER + max(0, blocks - BLOCK_GAP) + FOOTER

    @property
    def fits(self) -> bool:
        """Tell whether a picture of this size may be made."""
        return max(self.width, self.height) <= MAX_SIDE and self.width * self.height <= MAX_PIXELS

    def block(self, shown: int) -> int:
        """Give the height of one reference with so many matches."""
        lines = max(self.span, math.ceil(shown / self.columns))
        return lines * (self.cell + GAP) - GAP

    def corner(self, place: int, top: int) -> tuple[int, int]:
        """Give the corner of a match's tile in a block that starts at `top`; places count from 0."""
        line, column = divmod(place, self.columns)
        return self.grid_left + column * (self.tile + GAP), top + line * (self.cell + GAP)


def lay_out(counts: Sequence[int]) -> Layout:
    """Find the largest tiles with which everything fits, or as much of it as the smallest ones allow.

    Args:
        counts: The number of matches of each reference.
    """
    most = max(counts, default=0)
    columns = _columns(most, alone=len(counts) == 1)
    whole = Layout(
        tile=next(side for photos, side in TILES if sum(counts) <= photos),
        columns=columns,
        span=2 if most > columns else 1,
        shown=tuple(counts),
    )
    for layout in (whole, *(replace(whole, tile=min(whole.tile, side)) for side in SMALLER_TILES)):
        if layout.fits:
            return layout
    return _cut_down(layout)


def _cut_down(layout: Layout) -> Layout:
    """Leave out what does not fit: the last lines of long answers first, then the last references."""

    def with_lines(lines: int) -> Layout:
        limit = lines * layout.columns
        return replace(layout, shown=tuple(min(count, limit) for count in layout.shown))

    lines = math.ceil(max(layout.shown) / layout.columns)
    short = with_lines(_largest(layout.span, lines, lambda lines: with_lines(lines).fits))

    def with_references(count: int) -> Layout:
        return replace(short, shown=short.shown[:count])

    return with_references(_largest(1, len(short.shown), lambda count: with_references(count).fits))


def _largest(low: int, high: int, accept: Callable[[int], bool]) -> int:
    """Find the largest number from low to high that is accepted, by halving; low where none is."""
    while low < high:
        middle = (low + high + 1) // 2
        if accept(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _columns(most: int, *, alone: bool) -> int:
    """Choose the columns of the grid.

    The answer to a single reference becomes a little wider than high, with few empty places in its last line;
    several references take a line each as long as it is not a long one.
    """
    if most <= 3:
        return max(1, most)
    if not alone:
        return min(most, SHORT_ANSWER) if most <= 2 * SHORT_ANSWER else LONG_LINE
    ideal = math.sqrt(1.4 * most)
    choices = range(max(2, math.floor(ideal) - 1), math.ceil(ideal) + 2)
    best = min(choices, key=lambda columns: -most % columns + 1.5 * abs(columns - ideal))
    return min(best, MOST_COLUMNS)
