"""Group faces into people, without a matrix of all distances.

A group is represented by the sum of its faces' unit vectors. If the sums are divided by the number of faces,
the product of two of them is 1 minus the mean of all cosine distances between the groups: average linkage. If
they are divided by their lengths, the product is the cosine between the two centroids: centroid linkage.
Average linkage keeps distant groups apart, but blurred, small or grainy faces are far from everything, so
their people fall into pieces. Centroid linkage averages that away, but lets wide groups grow. `CENTRING`
interpolates between the two.

All pairs of groups that are each other's nearest are joined at once. With average linkage a joined group is
never nearer to a third one than its parts were, so the result is that of joining one pair at a time;
otherwise the step is repeated until there is nothing left to join.

Some groups are never joined: known people, those who were said to be two, and groups with faces in the same
photo.

To find the nearest group, up to `EXACT` groups are compared with all others. More are divided among cells of
groups that lie near to each other, and each is compared with those in the cells nearest to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesearch.errors import ModelError
from facesearch.machine import processors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facesearch.models.card import Card

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

# The share of pairs of strangers that are as near as two groups of one person may be. On LFW with SFace this
# is a distance of 0.485, where precision is 0.998 at a recall of 0.973; beyond 0.49 two people become one.
STRANGER_RATE = 2e-6
MAKE_ONE = "Make an index with a model that tells people apart: `facesearch index FOLDER --model sface`."
# Rows and columns of one product: small enough to be looked through while it is in the cache.
BLOCK, TILE = 256, 2048
# Comparing 100,000 groups with all others takes 11 s on two cores, and a million would take 20 minutes. Cells
# of 250 groups, of which one in 16 is looked into, hold the nearest group of 99.4 % of a million faces that
# have one near.
EXACT, IN_CELL, LOOKED_INTO = 65_536, 250, 1 / 16
# Groups of a sample, for each cell, and how often the cells' middles are moved to those of their groups.
SAMPLED, MOVED = 20, 3
# So many groups that lie near to each other look into the cells together.
TOGETHER = 4096
# 0 is average linkage, 1 centroid linkage. tests/benchmarks/people_grouping.py: on LFW, and on LFW with 15
# grainy copies of each face, recall is within half a point at one distance here, at average linkage 15 apart.
CENTRING = 0.85
ALONE = -1

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]
NOBODY: Numbers = np.empty((0, 2), np.int64)


def group_faces(
    vectors: Vectors,
    *,
    within: float,
    known: Numbers | None = None,
    settled: NDArray[np.bool_] | None = None,
    apart: Numbers = NOBODY,
    photo: Numbers | None = None,
    centring: float = CENTRING,
) -> Numbers:
    """Group faces so that the faces of one person are in one group.

    Args:
        vectors: (n, dim) float32 of any length above 0.
        within: The distance up to which two groups are one person.
        known: (n,) the number of the group of each face that is in one already, -1 for the others. Known
            groups stay together and are never joined; other faces join them, or each other.
        settled: (n,) faces that were grouped before with these known groups, which found nobody near.
        apart: (k, 2) pairs of faces whose groups are never joined.
        photo: (n,) the photo of each face: two faces of one photo never get into one group, other than a
            known one. None where that does not matter.
        centring: From 0, average linkage, to 1, centroid linkage.

    Returns:
        (n,) numbers of groups: known ones keep theirs, the others follow in the order of their first faces.
    """
    if known is None:
        known = np.full(len(vectors), ALONE, np.int64)
    names, place = np.unique(known[known != ALONE], return_inverse=True)
    # Each known group, and each other face, is a group to begin with.
    group = np.empty(len(vectors), np.int64)
    group[known != ALONE] = place
    alone = np.flatnonzero(known == ALONE)
    group[alone] = len(names) + np.arange(len(alone))
    changed = np.arange(len(names) + len(alone)) if settled is None else np.unique(group[~settled])
    while len(changed):
        groups = _Groups.of(vectors, group, len(names), centring)
        groups.barred = Barred.of(group, apart, photo)
        became = _join(groups, within, changed)
        # Known groups have the lowest numbers, and the lower number of two stays: they remain as they are.
        left, group = np.unique(became[group], return_inverse=True)
        # Only a joined group can be nearer to others now than within the limit, by average linkage only to
        # those that did not look.
        larger = np.unique(became[became != np.arange(len(became))])
        changed = np.searchsorted(left, larger) if centring or settled is not None else larger[:0]
    return _numbered(group, names)


def likely_pairs(
    vectors: Vectors, group: Numbers, *, within: float, apart: Numbers = NOBODY, photo: Numbers | None = None
) -> tuple[Numbers, Vectors]:
    """Return pairs of groups that may be the same person: each group and the nearest other one.

    Args:
        vectors: (n, dim) float32 of any length above 0.
        group: (n,) the number of each face's group, from 0.
        within: The largest distance of two groups.
        apart: (k, 2) pairs of faces whose groups are no pair.
        photo: (n,) the photo of each face: groups with faces in one photo are no pair. None where that does
            not matter.

    Returns:
        (p, 2) the numbers of two groups each; and (p,) their distance, in rising order.
    """
    groups = _Groups.of(vectors, group, 0, CENTRING)
    groups.barred = Barred.of(group, apart, photo)
    rows = np.arange(len(groups.number))
    found = groups.nearest(rows, 1.0 - within)
    near = np.flatnonzero(found.similarity >= 1.0 - within)
    pairs = np.sort(np.stack([near, found.near[near]], axis=1), axis=1)
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    distance = 1.0 - found.similarity[near][first]
    order = np.argsort(distance, kind="stable")
    return pairs[order], np.asarray(distance[order], np.float32)


@dataclass
class _Groups:
    """The groups that may still be joined.

    Attributes:
        number: (g,) the number of each group.
        total: (g, dim) the sum of its faces' unit vectors.
        size: (g,) the number of its faces.
        fixed: (g,) bool, whether it is a known group; two of these are never joined.
        centring: See `group_faces`.
        barred: Which others are never joined.
    """

    number: Numbers
    total: Vectors
    size: Vectors
    fixed: NDArray[np.bool_]
    centring: float
    barred: Barred | None = None

    @classmethod
    def of(cls, vectors: Vectors, group: Numbers, known: int, centring: float) -> _Groups:
        flat = vectors / _lengths(vectors)[:, None]
        size = np.bincount(group).astype(np.float32)
        total = np.zeros((len(size), vectors.shape[1]), np.float32)
        np.add.at(total, group, flat)
        number = np.arange(len(size))
        return cls(number, total, size, number < known, centring)

    def take(self, kept: NDArray[np.bool_]) -> _Groups:
        barred = self.barred and self.barred.take(kept)
        return _Groups(
            self.number[kept], self.total[kept], self.size[kept], self.fixed[kept], self.centring, barred
        )

    def join(self, first: Numbers, second: Numbers) -> None:
        """Let some groups have the faces of others, too, which are to be taken out."""
        self.total[first] += self.total[second]
        self.size[first] += self.size[second]
        self.fixed[first] |= self.fixed[second]
        if self.barred:
            place = np.arange(len(self.number))
            place[second] = first
            self.barred = self.barred.moved(place)

    def middles(self, rows: Numbers | slice = slice(None)) -> Vectors:
        """Return what the similarity of two of some groups is the product of, (r, dim)."""
        total = self.total[rows]
        scale = self.size[rows] ** (1 - self.centring) * _lengths(total) ** self.centring
        return np.asarray(total / scale[:, None], np.float32)

    def similarity(self, rows: Numbers, others: Numbers) -> Vectors:
        """Return how near each of some groups is to another, (r,); minus infinity if they never join."""
        found = np.einsum("ij,ij->i", self.middles(rows), self.middles(others))
        never = self.fixed[rows] & self.fixed[others]
        if self.barred:
            never |= self.barred.bars(rows, others)
        return np.asarray(np.where(never, -np.inf, found), np.float32)

    def nearest(self, rows: Numbers, least: float = -np.inf) -> _Nearest:
        """Return the nearest other group of some groups that is not barred.

        Args:
            rows: The positions of the groups.
            least: A group that is less near does not matter.
        """
        middles, fixed = self.middles(), self.fixed[rows]
        found = _Nearest.none(len(rows))
        # Each core multiplies blocks of its own: BLAS' threads would wait for each other at every one.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(processors()) as threads:
            # Known groups are not joined, so they need not look at each other.
            for some, among in (
                (~fixed, np.arange(len(middles))),
                (fixed, np.flatnonzero(~self.fixed)),
            ):
                if some.any() and len(among):
                    exact = int(some.sum()) * len(among) <= EXACT**2
                    look = _nearest_of_all if exact else _nearest_in_cells
                    found.put(some, look(middles, rows[some], among, threads))
        if self.barred:
            near = np.flatnonzero(found.similarity >= least)
            for place in near[self.barred.bars(rows[near], found.near[near])].tolist():
                found.put(np.array([place]), self._nearest_allowed(int(rows[place]), middles))
        return found

    def _nearest_allowed(self, row: int, middles: Vectors) -> _Nearest:
        """Return the nearest of all groups that one group may be joined with."""
        assert self.barred is not None
        products = middles[row] @ middles.T
        products[row] = products[self.barred.all_of(row)] = -np.inf
        if self.fixed[row]:
            products[self.fixed] = -np.inf
        found = _Nearest.none(1)
        found.compare(np.zeros(1, np.int64), products[None], np.arange(len(products)))
        return found


@dataclass(frozen=True)
class Barred:
    """Which groups are never joined: those that were said to be two, and those with faces in one photo.

    Attributes:
        apart: (k, 2) the positions of two groups each.
        group: (n,) the position of each face's group.
        photo: (n,) the photo of each face; empty, as `group`, where that does not matter.
    """

    apart: Numbers
    group: Numbers
    photo: Numbers

    @classmethod
    def of(cls, group: Numbers, apart: Numbers, photo: Numbers | None) -> Barred | None:
        """Return what is barred; see `group_faces`. None for nothing."""
        if photo is not None:
            shared = np.bincount(photo)[photo] > 1  # others bar nothing
            of_group, photo = group[shared], photo[shared]
        else:
            of_group = photo = np.empty(0, np.int64)
        return cls(group[apart], of_group, photo) if len(apart) or len(photo) else None

    def moved(self, place: Numbers) -> Barred:
        """Return the same of groups that were joined: at `place[p]` is what was at p."""
        return Barred(place[self.apart], place[self.group], self.photo)

    def take(self, kept: NDArray[np.bool_]) -> Barred:
        """Return what is barred among some of the groups, which move together."""
        places = np.cumsum(kept) - 1
        there, faces = kept[self.apart].all(axis=1), kept[self.group]
        return Barred(places[self.apart[there]], places[self.group[faces]], self.photo[faces])

    def bars(self, rows: Numbers, others: Numbers) -> NDArray[np.bool_]:
        """Return whether each of some groups is never joined with another one, (r,)."""
        both = self._codes(np.stack([rows, others], axis=1))
        return np.isin(both, self._codes(self.apart)) | self._share(rows, others)

    def all_of(self, row: int) -> Numbers:
        """Return the positions of all groups that one group is never joined with."""
        pairs = self.apart[(self.apart == row).any(axis=1)]
        here = np.isin(self.photo, self.photo[self.group == row])
        return np.concatenate([pairs[pairs != row], self.group[here]])

    def _share(self, rows: Numbers, others: Numbers) -> NDArray[np.bool_]:
        if not len(rows) or not len(self.photo):
            return np.zeros(len(rows), np.bool_)
        photos = int(self.photo.max()) + 1
        shown = np.unique(self.group * photos + self.photo)
        starts = np.searchsorted(shown, rows * photos)
        counts = np.searchsorted(shown, (rows + 1) * photos) - starts
        pair = np.repeat(np.arange(len(rows)), counts)
        own = shown[np.arange(len(pair)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)] % photos
        both = np.isin(others[pair] * photos + own, shown)
        return np.bincount(pair[both], minlength=len(rows)) > 0

    @staticmethod
    def _codes(pairs: Numbers) -> Numbers:
        """Return one number for each pair of groups, in whatever order they are."""
        return np.asarray(pairs.min(axis=1) * 2**31 + pairs.max(axis=1), np.int64)


@dataclass
class _Nearest:
    """The nearest others of some groups.

    Attributes:
        near: (r,) the position of the nearest.
        similarity: (r,) how near it is; minus infinity where there is none.
        others: (r,) how near all others are at most.
    """

    near: Numbers
    similarity: Vectors
    others: Vectors

    @classmethod
    def none(cls, count: int) -> _Nearest:
        far = np.full(count, -np.inf, np.float32)
        return cls(np.zeros(count, np.int64), far, far.copy())

    @classmethod
    def joined(cls, parts: Iterable[_Nearest]) -> _Nearest:
        columns = zip(*((one.near, one.similarity, one.others) for one in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def put(self, rows: Numbers | NDArray[np.bool_], found: _Nearest) -> None:
        """Note what was found anew for some of the groups."""
        self.near[rows], self.similarity[rows] = found.near, found.similarity
        self.others[rows] = found.others

    def offer(self, rows: Numbers, near: Numbers, similarity: Vectors) -> None:
        """Note groups that may be nearer to some of the groups than the nearest that is known; each once."""
        known = self.similarity[rows]
        self.others[rows] = np.maximum(self.others[rows], np.minimum(known, similarity))
        nearer = similarity > known
        self.near[rows[nearer]], self.similarity[rows[nearer]] = near[nearer], similarity[nearer]

    def compare(self, rows: Numbers, products: Vectors, others: Numbers) -> None:
        """Note the similarities (l, o) of some of the groups to others, which are overwritten."""
        for _ in range(2):  # the second is the most that the others can be
            place = products.argmax(axis=1)
            found = products[np.arange(len(rows)), place]
            self.offer(rows, others[place], found)
            products[np.arange(len(rows)), place] = -np.inf

    def take(self, kept: NDArray[np.bool_]) -> _Nearest:
        """Return what is known of some of the groups, which move together."""
        places = np.cumsum(kept) - 1
        return _Nearest(places[self.near[kept]], self.similarity[kept], self.others[kept])


def _nearest_of_all(middles: Vectors, rows: Numbers, among: Numbers, threads: ThreadPoolExecutor) -> _Nearest:
    """Compare groups with others.

    Args:
        middles: (g, dim), of all groups.
        rows: (r,) positions of groups that look.
        among: (a,) positions of groups that are looked at, in rising order; nobody finds itself.
        threads: They share the work.
    """
    others = middles if len(among) == len(middles) else middles[among]

    def look(block: Numbers) -> _Nearest:
        best, queries, own = _Nearest.none(len(block)), middles[block], np.arange(len(block))
        for at in range(0, len(among), TILE):
            inside = among[at : at + TILE]
            products = queries @ others[at : at + TILE].T
            _leave_out_itself(products, block, (block >= inside[0]) & (block <= inside[-1]), inside)
            best.compare(own, products, inside)
        return best

    return _Nearest.joined(threads.map(look, [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]))


def _nearest_in_cells(
    middles: Vectors, rows: Numbers, among: Numbers, threads: ThreadPoolExecutor
) -> _Nearest:
    """Compare groups with others in the cells that are nearest to them; see `_nearest_of_all`."""
    centres = _centres(middles, among, threads)
    home = _homes(middles, among, centres, threads)
    members = among[np.argsort(home, kind="stable")]
    others = middles[members]
    ends = np.bincount(home, minlength=len(centres)).cumsum()
    looked_into = max(1, round(LOOKED_INTO * len(centres)))
    home = _homes(middles, rows, centres, threads)

    def look(chosen: Numbers) -> _Nearest:
        block, at_home = rows[chosen], home[chosen]
        best, queries = _Nearest.none(len(block)), middles[block]
        near = np.argpartition(queries @ centres.T, -looked_into, axis=1)[:, -looked_into:].ravel()
        order = np.argsort(near, kind="stable")
        cells, starts = np.unique(near[order], return_index=True)
        for cell, looking in zip(cells, np.split(order // looked_into, starts[1:]), strict=True):
            inside = slice(ends[cell - 1] if cell else 0, ends[cell])
            if inside.start < inside.stop:
                products = queries[looking] @ others[inside].T
                _leave_out_itself(products, block[looking], at_home[looking] == cell, members[inside])
                best.compare(looking, products, members[inside])
        return best

    # Those that lie in one cell look into the same cells.
    order = np.argsort(home, kind="stable")
    blocks = [order[at : at + TOGETHER] for at in range(0, len(rows), TOGETHER)]
    found = _Nearest.none(len(rows))
    found.put(order, _Nearest.joined(threads.map(look, blocks)))
    return found


def _leave_out_itself(
    products: Vectors, looking: Numbers, may_be: NDArray[np.bool_], others: Numbers
) -> None:
    """Let no group find itself: some that look may be among the others, which are in rising order."""
    mine = np.flatnonzero(may_be)
    place = np.minimum(np.searchsorted(others, looking[mine]), len(others) - 1)
    found = others[place] == looking[mine]
    products[mine[found], place[found]] = -np.inf


def _centres(middles: Vectors, among: Numbers, threads: ThreadPoolExecutor) -> Vectors:
    """Return the middles of cells, as unit vectors: k-means of a sample that is always the same."""
    count = max(1, len(among) // IN_CELL)
    drawn = np.random.default_rng(0).choice(among, min(len(among), SAMPLED * count), replace=False)
    sample = middles[np.sort(drawn)]
    sample /= _lengths(sample)[:, None]
    centres = sample[::SAMPLED]
    for _ in range(MOVED):
        home = _homes(sample, np.arange(len(sample)), centres, threads)
        moved = np.zeros_like(centres)
        np.add.at(moved, home, sample)
        full = np.bincount(home, minlength=len(centres)) > 0
        centres = np.where(full[:, None], moved / _lengths(moved)[:, None], centres)
    return np.asarray(centres, np.float32)


def _homes(middles: Vectors, rows: Numbers, centres: Vectors, threads: ThreadPoolExecutor) -> Numbers:
    """Return the cell of each of some groups, (r,)."""
    blocks = [rows[at : at + TOGETHER] for at in range(0, len(rows), TOGETHER)]
    found = threads.map(lambda block: (middles[block] @ centres.T).argmax(axis=1), blocks)
    return np.concatenate(list(found))


def _join(groups: _Groups, within: float, changed: Numbers) -> Numbers:
    """Join groups as far as they are near enough.

    Args:
        groups: All groups.
        within: See `group_faces`.
        changed: The positions of those that look for others; the rest is known to have nobody near among
            themselves.

    Returns:
        The group that each group becomes part of, (g,); itself if it stays.
    """
    became = np.arange(len(groups.number))
    known = _Nearest.none(len(became))
    while len(changed):
        known.put(changed, groups.nearest(changed, 1.0 - within))
        _tell_the_nearest(known, changed)
        first, second = _mutual(known.near, known.similarity, 1.0 - within)
        if not len(first):
            break
        became[groups.number[second]] = groups.number[first]
        groups.join(first, second)
        looks = np.zeros(len(groups.number), np.bool_)
        looks[first] = looks[second] = True
        # Of the others, who has nobody near is done; who was nearest to one that was joined may stay so.
        kept = known.similarity >= 1.0 - within
        beside = np.flatnonzero(looks[known.near] & ~looks & kept)
        place = np.arange(len(known.near))
        place[second] = first
        known.near[beside] = place[known.near[beside]]
        known.similarity[beside] = groups.similarity(beside, known.near[beside])
        looks[beside] = known.similarity[beside] < np.maximum(known.others[beside], 1.0 - within)
        kept[second] = False
        # The one that was joined may have nobody near any more, by its own look.
        looks |= ~kept[known.near]
        known = known.take(kept)
        changed = np.flatnonzero(looks[kept])
        groups = groups.take(kept)
    return _roots(became)


def _tell_the_nearest(known: _Nearest, changed: Numbers) -> None:
    """Let groups know of changed ones that may be nearer to them than the nearest that they knew."""
    order = changed[np.argsort(known.similarity[changed], kind="stable")[::-1]]
    told, first = np.unique(known.near[order], return_index=True)  # of several, only the nearest
    known.offer(told, order[first], known.similarity[order[first]])


def _mutual(near: Numbers, similarity: Vectors, least: float) -> tuple[Numbers, Numbers]:
    """Return the pairs of groups that are each other's nearest and near enough, lower position first."""
    own = np.arange(len(near))
    first = np.flatnonzero((near[near] == own) & (own < near) & (similarity >= least))
    if len(first) or similarity.max() < least:
        return first, near[first]
    # Rounding can make each of some equal ones nearest to the next.
    best = int(similarity.argmax())
    pair = np.sort([best, near[best]])
    return pair[:1], pair[1:]


def _lengths(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1)
    return np.asarray(np.where(lengths > 0, lengths, 1.0), np.float32)


def _roots(became: Numbers) -> Numbers:
    """Follow the joins to the group in which each one ended."""
    while not np.array_equal(further := became[became], became):
        became = further
    return became


def _numbered(group: Numbers, names: Numbers) -> Numbers:
    """Number the groups: known ones keep their numbers, the others follow by their first faces."""
    known = group < len(names)
    numbers = np.empty(len(group), np.int64)
    numbers[known] = names[group[known]]
    _, at, place = np.unique(group[~known], return_index=True, return_inverse=True)
    order = np.empty(len(at), np.int64)
    order[np.argsort(at)] = np.arange(len(at))
    numbers[~known] = (names[-1] + 1 if len(names) else 0) + order[place]
    return numbers


def grouping_distance(card: Card) -> float:
    """Return the cosine distance up to which two groups are one person.

    Raises:
        ModelError: The model's distances were not measured on people, or do not tell them apart well enough.
    """
    calibration = card.calibration.get("cosine")
    if calibration is None:
        raise ModelError(
            f"{card.name} has not been measured on people: its distances are not known to show one person.",
            "Measure it on people of your own: `facesearch evaluate DIR --calibrate`, or choose --within D.",
        )
    within = min(calibration.stranger_distance(STRANGER_RATE), calibration.threshold)
    if within <= 0:
        raise ModelError(
            f"{card.name} does not tell people apart well enough to group them.",
            "Use --model sface, or choose a distance with --within D.",
        )
    return within


def check_tells_persons(card: Card) -> None:
    """Refuse a model that measures looks, not persons.

    Raises:
        ModelError: The model measures looks.
    """
    if not card.identity:
        raise ModelError(
            f"{card.name} measures how alike pictures of faces look, not who they show: it groups no people.",
            MAKE_ONE,
        )
