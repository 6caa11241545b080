"""Screening: does it keep the best, at what cost, and are the figures of those who stay still honest?

    python bench/screening.py                     every count at full length (some minutes)
    python bench/screening.py --quick             the same questions with fewer repeats
    python bench/screening.py --record PROJECT    write a measured project's passes to bench/recorded/matrix.json
    python bench/screening.py --json              one JSON document on stdout

Simulated matrices have 12 candidates, one of them better by a gap in logits, and a photograph effect of which half is
shared by all. 'The full matrix' is what measuring everything would have picked on the same data: no screening can be
expected to beat it. Exit status 1 if a figure misses its target.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from lab.command import Part, graded, parser
from lab.figures import Figure, at_least, at_most
from lab.replay import COUNT, SHARE, record, replayed

from whichlora.run.rounds import reach
from whichlora.stats.multiple import max_t
from whichlora.stats.proxy import rank_agreement
from whichlora.stats.rates import new_photo_bounds
from whichlora.stats.screening import Round, chosen_on, cost, schedule


def drawn(
    rng: np.random.Generator, repeats: int, rates: Sequence[float], photos: int, cells: int, icc: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Passes and their latent margins, shape (repeats, candidates, photos, cells); a larger margin passes more."""
    shape = (repeats, len(rates), photos, cells)
    together = rng.standard_normal((repeats, 1, photos, 1), dtype=np.float32)
    own = rng.standard_normal((*shape[:3], 1), dtype=np.float32)
    latent = np.sqrt(icc / 2) * (together + own) + np.sqrt(1 - icc) * rng.standard_normal(shape, dtype=np.float32)
    margin = norm.ppf(rates).astype(np.float32)[None, :, None, None] - latent
    return margin > 0, margin


def in_steps(values: np.ndarray) -> np.ndarray:
    """Photographs first: shape (repeats, candidates, photos × cells)."""
    return values.transpose(0, 1, 3, 2).reshape(*values.shape[:2], -1)


def screen(y: np.ndarray, rounds: Sequence[tuple[int, int]]) -> np.ndarray:
    """Who is left after every round's cut, shape (repeats, candidates); ties fall at random."""
    rng = np.random.default_rng(1)
    total = np.cumsum(y, axis=2, dtype=np.float64)
    alive = np.ones(y.shape[:2], bool)
    for steps, keep in rounds:
        score = total[:, :, steps - 1] / steps + 1e-7 * rng.random(alive.shape)
        score[~alive] = -np.inf
        order = np.argsort(-score, axis=1)[:, :keep]
        alive = np.zeros_like(alive)
        np.put_along_axis(alive, order, True, axis=1)
    return alive


def found(y: np.ndarray, rounds: Sequence[tuple[int, int]]) -> float:
    """Share of repeats in which the first candidate, the truly best, comes out ahead."""
    last = rounds[-1][0]
    return float(screen(y, [*rounds, (last, 1)])[:, 0].mean())


def two_likeliest(y: np.ndarray, cells: int, block: int = 20) -> float:
    """Top-two posterior sampling with the same cells, a block of `block` steps at a time, unpaired in seeds."""
    rng = np.random.default_rng(2)
    repeats, count, steps = y.shape
    blocks = steps // block
    total = np.cumsum(y[:, :, : blocks * block].reshape(repeats, count, blocks, block).sum(axis=3), axis=2)
    total = np.concatenate([np.zeros((repeats, count, 1)), total], axis=2)
    spread, rows = float(y.std()), np.arange(repeats)
    seen = np.ones((repeats, count), int)
    for _ in range(cells // block - count):
        mean = np.take_along_axis(total, seen[:, :, None], 2)[:, :, 0] / (seen * block)
        error = 1.1 * spread / np.sqrt(seen * block)
        one = (mean + error * rng.standard_normal(mean.shape)).argmax(axis=1)
        again = mean + error * rng.standard_normal(mean.shape)
        again[rows, one] = -np.inf
        pick = np.where(rng.random(repeats) < 0.5, one, again.argmax(axis=1))
        room = np.where(seen < blocks, mean + error * rng.standard_normal(mean.shape), -np.inf).argmax(axis=1)
        seen[rows, np.where(seen[rows, pick] < blocks, pick, room)] += 1
    mean = np.take_along_axis(total, seen[:, :, None], 2)[:, :, 0] / (seen * block)
    return float((mean.argmax(axis=1) == 0).mean())


def one_at_a_time(steps: int) -> list[tuple[int, int]]:
    """Successive rejects proper: a candidate leaves in every round, the last two are completed."""
    low, high = 0.0, 1e6
    for _ in range(60):
        scale = (low + high) / 2
        seen = [min(steps, int(scale / size)) for size in range(COUNT, 2, -1)]
        spent = sum(size * (now - then) for size, now, then in zip(
            range(COUNT, 2, -1), seen, [0, *seen[:-1]], strict=True)) + 2 * (steps - seen[-1])
        low, high = (scale, high) if spent <= SHARE * COUNT * steps else (low, scale)
    seen = [min(steps, int(low / size)) for size in range(COUNT, 2, -1)]
    return [(now, size - 1) for now, size in zip(seen, range(COUNT, 2, -1), strict=True)] + [(steps, 2)]


def halving(steps: int) -> list[tuple[int, int]]:
    """12, 6, 3, 3: equal spending a round, nobody completed on purpose."""
    spend = SHARE * COUNT * steps / 3
    first = int(spend / 12)
    second = first + int(spend / 6)
    return [(first, 6), (second, 3), (min(steps, second + int(spend / 3)), 3)]


def finding(quick: bool) -> list[Figure]:
    """The true best of 12 at 35 % of the matrix, 20 photographs × 16 cells, by several ways of spending them."""
    rng = np.random.default_rng(1)
    repeats = 800 if quick else 8_000
    result = []
    for gap in (1.0, 0.5):
        rates = 1 / (1 + np.exp(-np.array([0.8] + [0.8 - gap] * (COUNT - 1))))
        won, margin = drawn(rng, repeats, rates, 20, 16, 0.15)
        y = in_steps(won).astype(np.float32)
        steps = y.shape[2]
        rounds = schedule(COUNT, steps, SHARE)
        plain = [(stage.steps, stage.keep) for stage in rounds]
        whole = y.mean(axis=2) + 1e-7 * rng.random(y.shape[:2])
        mine, everything = found(y, plain), float((whole.argmax(axis=1) == 0).mean())
        slack = 3 * np.sqrt(0.05 * 0.95 / repeats)
        what = f"gap {gap:g} logit, 20 photographs × 16"
        result += [
            at_least(f"finds the true best, {what}", mine, 0.95, slack) if gap == 1 else Figure(
                f"finds the true best, {what} (wanted 0.95; the full matrix does not reach it)", round(mine, 3),
                "printed", True),
            Figure(f"  the full matrix, {what}", round(everything, 3), "printed", True),
            at_most(f"  share of the matrix spent, {what}", cost(COUNT, rounds) / COUNT / steps, SHARE),
        ]
        if gap == 0.5:
            noisy = margin + 1.02 * rng.standard_normal(margin.shape, dtype=np.float32)
            result += [
                Figure("  tried: halving (12, 6, 3), nobody completed", round(found(y, halving(steps)), 3), "printed",
                       True),
                Figure("  tried: one candidate leaves a round", round(found(y, one_at_a_time(steps)), 3), "printed",
                       True),
                Figure("  tried: top-two posterior sampling", round(two_likeliest(y, int(SHARE * y[0].size)), 3),
                       "printed", True),
                Figure("  tried: a grade free of noise instead of passes", round(found(in_steps(margin), plain), 3),
                       "printed", True),
                Figure("  tried: a grade that agrees with it at 0.7", round(found(in_steps(noisy), plain), 3),
                       "printed", True),
                Figure("  tried: passes less the mean of all candidates on the cell (control variate)",
                       round(found(y - y.mean(axis=1, keepdims=True), plain), 3), "printed", True),
            ]
    return [*result, *other_schedules(rng, min(repeats, 2_000)), *more_photographs(rng, repeats)]


def more_photographs(rng: np.random.Generator, repeats: int) -> list[Figure]:
    """What 0.5 logit takes: the same share of a matrix with 40 photographs."""
    rates = 1 / (1 + np.exp(-np.array([0.8] + [0.3] * (COUNT - 1))))
    y = in_steps(drawn(rng, repeats, rates, 40, 16, 0.15)[0]).astype(np.float32)
    plain = [(stage.steps, stage.keep) for stage in schedule(COUNT, y.shape[2], SHARE)]
    slack = 3 * np.sqrt(0.05 * 0.95 / repeats)
    return [at_least("finds the true best, gap 0.5 logit, 40 photographs × 16", found(y, plain), 0.95, slack)]


def other_schedules(rng: np.random.Generator, repeats: int) -> list[Figure]:
    """Other fields, steeper and flatter rounds, finalists stopped early or given half as many seeds again."""
    rates = 1 / (1 + np.exp(-np.array([0.8] + [0.3] * (COUNT - 1))))
    y = in_steps(drawn(rng, repeats, rates, 20, 24, 0.15)[0]).astype(np.float32)
    tried = [
        found(y, _spent(sizes, slope, last))
        for sizes in ((12, 8, 5, 3), (12, 7, 4, 3), (12, 9, 7, 5, 4, 3), (12, 6, 3), (12, 4))
        for slope in (0.5, 1.0, 1.5) for last in (200, 320, 480)
    ]
    plain = [(stage.steps, stage.keep) for stage in schedule(COUNT, 320, SHARE)]
    return [
        Figure("  tried: best of 45 other schedules, extra seeds for finalists among them", round(max(tried), 3),
               "printed", True),
        Figure("  the schedule used, on the same draws", round(found(y[:, :, :320], plain), 3), "printed", True),
    ]


def _spent(sizes: Sequence[int], slope: float, last: int) -> list[tuple[int, int]]:
    """Rounds of which each field's steps go with its size to the power of -slope; the last two get `last` steps."""
    low, high = 0.0, 1e6
    for _ in range(60):
        scale = (low + high) / 2
        seen = [min(last, int(scale * size**-slope)) for size in sizes]
        spent = sum(size * (now - then) for size, now, then in zip(sizes, seen, [0, *seen[:-1]], strict=True))
        low, high = (scale, high) if spent + 2 * (last - seen[-1]) <= SHARE * COUNT * 320 else (low, scale)
    seen = [max(1, min(last, int(low * size**-slope))) for size in sizes]
    return [*zip(seen, (*sizes[1:], 2), strict=True), (last, 2)]


def honest(quick: bool) -> list[Figure]:
    """Intervals of finalists and 'better than base' among candidates that are all equal: the worst case for both."""
    rng = np.random.default_rng(3)
    repeats = 300 if quick else 2_000
    covered, plain, lift, above = [], [], [], []
    for photos, cells in ((8, 4), (8, 8), (12, 4), (20, 4), (20, 16)):
        steps = photos * cells
        for share in (SHARE, 0.25):
            rounds = schedule(COUNT, steps, share)
            if not rounds or rounds[-1].steps < steps:
                continue
            used = chosen_on(COUNT, rounds)
            for icc in (0.0, 0.15, 0.4):
                for rate in (0.5, 0.7, 0.9):
                    won, _ = drawn(rng, repeats, [rate] * COUNT, photos, cells, icc)
                    y = in_steps(won).astype(np.float32)
                    alive = screen(y, [(stage.steps, stage.keep) for stage in rounds])
                    fresh, each = _by_photo(y[:, :, used:], photos, used)
                    low, high, floor, *_ = new_photo_bounds(fresh[alive], each)
                    covered.append(np.mean((low <= rate + 1e-9) & (rate <= high + 1e-9)))
                    above.append(np.mean(floor > rate + 1e-9))
                    lift.append(float(fresh[alive].mean()) - rate)
                    first, _, *_ = new_photo_bounds(won.mean(axis=3)[alive], cells)
                    plain.append(np.mean(first <= rate))
    slack = 3 * np.sqrt(0.93 * 0.07 / repeats / 2)
    return [
        at_least("coverage of finalists' intervals, lowest of the grid", min(covered), 0.93, slack),
        at_least("  the same, mean", float(np.mean(covered)), 0.93),
        Figure("  their figures too high by, points, mean of the grid", round(100 * float(np.mean(lift)), 1), "printed",
               True),
        Figure("  floor above the truth (nominal 0.05), mean", round(float(np.mean(above)), 3), "printed", True),
        *family_wise(rng, quick),
    ]


def _by_photo(y: np.ndarray, photos: int, used: int) -> tuple[np.ndarray, float]:
    """Photograph means of the steps from `used` on, and cells per photograph on harmonic average."""
    at = (np.arange(y.shape[2]) + used) % photos
    count = np.bincount(at, minlength=photos)
    means = np.stack([y[:, :, at == k].sum(axis=2) for k in range(photos)], axis=2) / np.maximum(count, 1)
    return means[:, :, count > 0], float((count > 0).sum() / np.sum(1 / count[count > 0]))


def family_wise(rng: np.random.Generator, quick: bool) -> list[Figure]:
    """Any finalist falsely shown better or worse than base, where all equal base."""
    repeats = 150 if quick else 1_500
    rates, naive = [], []
    for photos, cells in ((12, 4), (20, 4)):
        rounds = schedule(COUNT, photos * cells, SHARE)
        used = chosen_on(COUNT, rounds)
        won, _ = drawn(rng, repeats, [0.6] * (COUNT + 1), photos, cells, 0.2)
        y = in_steps(won).astype(np.float32)
        alive = screen(y[:, 1:], [(stage.steps, stage.keep) for stage in rounds])
        fresh, _ = _by_photo(y[:, :, used:], photos, used)
        false = careless = 0
        for i in range(repeats):
            d = (fresh[i, 1:][alive[i]] - fresh[i, :1]).T
            false += bool((max_t(d, absent=COUNT - d.shape[1]) <= 0.05).any())
            everything = won[i].mean(axis=2)
            careless += bool((max_t((everything[1:][alive[i]] - everything[:1]).T) <= 0.05).any())
        rates.append(false / repeats)
        naive.append(careless / repeats)
    slack = 3 * np.sqrt(0.05 * 0.95 / repeats)
    return [
        at_most("a finalist falsely 'better or worse than base', higher of 2 worlds", max(rates), 0.06, slack),
        Figure("  the same if only finalists were counted and all their cells used", round(max(naive), 3), "printed",
               True),
    ]


def cheaply(quick: bool) -> list[Figure]:
    """A sampler at a tenth of the cost proposes who leaves early; its true ranking agrees fully, partly, not at all."""
    repeats = 40 if quick else 300
    result = []
    for cells in (4, 16):
        for agreement in (1.0, 0.8, 0.0):
            rng = np.random.default_rng(4)
            steps, used = 20 * cells, 0
            rounds = schedule(COUNT, steps, SHARE)
            first = max(1, rounds[0].steps // 2)
            kept, plain_kept, spent, plain = 0, 0, 0.0, cost(COUNT, rounds)
            for _ in range(repeats):
                truth = rng.normal(0.0, 0.7, COUNT)
                other = agreement * truth + np.sqrt(1 - agreement**2) * rng.normal(0.0, 0.7, COUNT)
                slow, fast = (
                    in_steps(drawn(rng, 1, 1 / (1 + np.exp(-0.4 - skill)), 20, cells, 0.15)[0])[0].astype(float)
                    for skill in (truth, other)
                )
                trusted, alive, cost_here = _with_proposals(slow, fast, rounds, first)
                used += trusted
                spent += cost_here
                best = int(truth.argmax())
                kept += best == max(alive, key=lambda i, y=slow: y[i].mean())
                simple = screen(slow[None], [(stage.steps, stage.keep) for stage in rounds])[0]
                plain_kept += best == max(np.flatnonzero(simple), key=lambda i, y=slow: y[i].mean())
            what = f"true agreement {agreement:g}, 20 photographs × {cells}"
            result += [
                Figure(f"cheap sampler, {what}: trusted in", round(used / repeats, 3), "printed", True),
                at_least(f"  best kept, beyond what screening without it keeps, {what}",
                         (kept - plain_kept) / repeats, -0.02, 3 * np.sqrt(0.05 / repeats)),
                Figure("  cost against screening without it", round(spent / repeats / plain, 3), "printed", True),
            ]
            if agreement == 0:
                result.append(at_most(f"cheap sampler that knows nothing: trusted in, × {cells}", used / repeats, 0.05,
                                      3 * np.sqrt(0.05 / repeats)))
    return result


def _with_proposals(
    slow: np.ndarray, fast: np.ndarray, rounds: Sequence[Round], first: int, price: float = 0.1,
) -> tuple[bool, list[int], float]:
    """One screening in which a cheap sampler proposes after a short round: trusted, who is left, cells spent."""
    count = len(slow)
    long = rounds[0].steps
    same = rank_agreement(slow[:, :first], fast[:, :first], [str(i % 20) for i in range(first)], draws=200)
    go = reach(count, rounds)
    alive = list(range(count))
    if same.trusted:
        out = sorted(alive, key=lambda i: (-fast[i, :long].mean(), i))[go:]
        safe = sorted(alive, key=lambda i: (-slow[i, :first].mean(), i))[:go]
        alive = [i for i in alive if i not in out or i in safe]
    spent, seen = count * first + price * count * long, first
    for stage in rounds:
        spent += len(alive) * (stage.steps - seen)
        seen = stage.steps
        alive = sorted(alive, key=lambda i: (-slow[i, :seen].mean(), i))[: stage.keep]
    return same.trusted, alive, spent


PARTS: dict[str, Part] = {
    "finding": finding, "replayed": replayed, "honest": honest, "cheaply": cheaply,
}


def main() -> int:
    options = parser(__doc__, list(PARTS))
    options.add_argument("--record", type=Path, metavar="PROJECT", help="record a measured project and stop")
    given = options.parse_args()
    if given.record:
        record(given.record)
        return 0
    return graded(PARTS, given, "simulated and replayed matrices")


if __name__ == "__main__":
    raise SystemExit(main())
