"""Votes are durable, blind, balanced and counted once; choosing pairs keeps its promises."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from review import planted
from whichlora.errors import UserError
from whichlora.review.board import build_board
from whichlora.review.desk import Desk
from whichlora.review.pairing import REPEAT_AFTER, choose_pair, fit
from whichlora.review.votes import PairVote, Rating, TakenBack, from_row, new_id, now, standing
from whichlora.store import Store
from whichlora.types import Generation


@pytest.fixture
def project(tmp_path):
    plan = planted.make_project(tmp_path / "p", scores=False)
    return tmp_path / "p", plan


@pytest.fixture
def desk(project):
    folder, plan = project
    with Store(folder) as store:
        yield Desk(store, plan, seed=5)


def stored(folder):
    with Store(folder) as store:
        return [from_row(row) for row in store.votes()]


def rating(**values):
    return Rating("", "x", "", "", **{"identity": 4, "edit": 5, **values})


def test_a_pair_shares_its_case_and_seed_and_differs_in_candidate(desk, project):
    cells = {cell.id: cell for cell in project[1].cells}
    for _ in range(60):
        task = desk.pairs("Ada", "identity")[0]
        left, right = (cells[cell] for cell in task.cells)
        assert (left.case, left.seed) == (right.case, right.seed)
        assert left.candidate != right.candidate
        assert not {left.candidate, right.candidate} & {"control-nothing"}
        assert desk.answer("Ada", task.id, "left", 1.0)


def test_an_answer_counts_once_and_only_from_the_table(desk, project):
    task = desk.pairs("Ada", "edit")[0]
    assert not desk.answer("Bob", task.id, "left")
    assert desk.answer("Ada", task.id, "right", 2.5)
    assert not desk.answer("Ada", task.id, "left")
    [vote] = stored(project[0])
    assert (vote.answer, vote.left, vote.right, vote.rater, vote.seconds) == ("right", *task.cells, "Ada", 2.5)


def test_flipped_sides_are_stored_as_they_were_seen(desk, project):
    task = desk.pairs("Ada", "edit")[0]
    desk.answer("Ada", task.id, "left", flipped=True)
    [vote] = stored(project[0])
    assert (vote.left, vote.right) == (task.cells[1], task.cells[0])


def test_the_table_survives_a_reload_and_is_each_voters_own(desk):
    first = desk.pairs("Ada", "identity")
    assert desk.pairs("Ada", "identity") == first
    assert desk.pairs("Bob", "identity") != first


def test_undo_takes_back_and_shows_the_same_pair_again(desk, project):
    task = desk.pairs("Ada", "identity")[0]
    desk.answer("Ada", task.id, "left")
    assert desk.undo("Ada", "identity")
    assert desk.standing().pairs == ()
    assert desk.pairs("Ada", "identity")[0].cells == task.cells
    assert len(stored(project[0])) == 2  # nothing is deleted
    assert not desk.undo("Ada", "identity")
    assert not desk.undo("Bob", "identity")


def test_nobody_takes_back_the_vote_of_another(desk):
    task = desk.pairs("Ada", "identity")[0]
    desk.answer("Ada", task.id, "left")
    forged = TakenBack(new_id(), "Bob", now(), task.id)
    assert len(standing([*desk.votes, forged]).pairs) == 1


def test_a_rating_given_anew_replaces_the_older_one_and_scores_carry_it(desk, project):
    task = desk.rating_task("Ada")
    assert desk.rate("Ada", task.id, rating(identity=2, marks=((0.5, 0.25),), note="six fingers"))
    assert desk.undo("Ada", "rating")
    again = desk.rating_task("Ada")
    assert again.cells == task.cells
    assert desk.rate("Ada", again.id, rating(identity=5))
    with Store(project[0]) as store:
        scores = {score.metric: score for score in store.scores(context="any") if score.rater == "Ada"}
    assert scores["human/identity"].value == 5
    assert scores["human/identity"].passed is True
    assert scores["human/identity"].gate == "identity"
    assert scores["human/artefacts"].value == 0


def test_single_ratings_are_spread_over_candidates_and_photographs(desk, project):
    cells = {cell.id: cell for cell in project[1].cells}
    seen = []
    for _ in range(32):
        task = desk.rating_task("Ada")
        seen.append(cells[task.cells[0]])
        desk.rate("Ada", task.id, rating())
    assert set(Counter(cell.candidate for cell in seen).values()) == {8}
    photos = Counter((cell.candidate, cell.case.split("/")[0]) for cell in seen)
    assert set(photos.values()) == {2}


def test_a_second_voter_gets_some_of_the_same_pictures(desk):
    for _ in range(30):
        desk.rate("Ada", desk.rating_task("Ada").id, rating())
    mine = {vote.cell for vote in desk.standing().ratings}
    for _ in range(30):
        desk.rate("Bob", desk.rating_task("Bob").id, rating())
    shared = sum(vote.cell in mine for vote in desk.standing().ratings if vote.rater == "Bob")
    assert shared >= 6


def test_best_and_worst_are_of_one_line_up(desk, project):
    task = desk.extremes_task("Ada")
    cells = {cell.id: cell for cell in project[1].cells}
    assert len({(cells[c].case, cells[c].seed) for c in task.cells}) == 1
    assert len(task.cells) == 4
    with pytest.raises(UserError):
        desk.pick("Ada", task.id, 1, 1)
    assert desk.pick("Ada", task.id, 0, 2)
    [vote] = stored(project[0])
    assert (vote.best, vote.worst) == (task.cells[0], task.cells[2])


@pytest.mark.parametrize("name", ["", "   ", "a" * 41, "a\nb", "‮evil", 7])
def test_names_that_cannot_be_are_refused(desk, name):
    with pytest.raises(UserError):
        desk.pairs(name, "identity")


def test_a_rating_out_of_range_is_refused_and_nothing_is_stored(desk, project):
    task = desk.rating_task("Ada")
    for bad in (rating(identity=6), rating(edit=True), rating(marks=((1.2, 0.5),)), rating(note="x" * 2001),
                rating(marks=((float("nan"), 0.5),))):
        with pytest.raises(UserError):
            desk.rate("Ada", task.id, bad)
    assert stored(project[0]) == []


def test_pictures_that_come_while_the_desk_is_open_are_taken_in(tmp_path):
    plan = planted.make_project(tmp_path / "p", upto=0, scores=False)
    with Store(tmp_path / "p") as store, Store(tmp_path / "p") as run:
        desk = Desk(store, plan)
        assert desk.pairs("Ada", "identity") == []
        for number, cell in enumerate(plan.cells):
            image = run.images.put(planted.png(str(number), (10, 20, number % 255)))
            run.add_generation(Generation(cell.id, "done", image, {}, 0))
        assert desk.refresh()
        assert desk.pairs("Ada", "identity")
        assert not desk.refresh()


def test_pairs_of_equal_pictures_are_never_shown(tmp_path):
    plan = planted.make_plan(photos=1, edits=1, seeds=(1,))
    folder = tmp_path / "p"
    with Store(folder, create=True) as store:
        same = store.images.put(planted.png("same", (1, 2, 3)))
        other = store.images.put(planted.png("other", (9, 9, 9)))
        for at, cell in enumerate(plan.cells[:4]):
            store.add_generation(Generation(cell.id, "done", other if at == 3 else same, {}, 0))
        board = build_board(plan, store.generations())
    rng = np.random.default_rng(0)
    odd = board.contestants.index(plan.candidates[3].name)
    for _ in range(30):
        pair = choose_pair(board, [], "identity", "Ada", rng)
        assert odd in {board.where[pair.left][0], board.where[pair.right][0]}


def session(board, votes, rng, truth, *, question="identity"):
    """A voter with planted strengths answers `votes` pairs chosen one after another."""
    given = []
    for _ in range(votes):
        pair = choose_pair(board, given, question, "Ada", rng)
        half = (truth[board.where[pair.left][0]] - truth[board.where[pair.right][0]]) / 2
        weights = np.array([np.exp(half), np.exp(-half), 0.3])
        answer = ("left", "right", "tie")[rng.choice(3, p=weights / weights.sum())]
        given.append(PairVote(new_id(), "Ada", now(), question, pair.left, pair.right, answer, pair.why, pair.chance,
                              pair.repeats))
    return given


def wide_board(candidates=12, photos=10):
    plan = planted.make_plan(names=("base", *(f"row-{n}" for n in range(candidates - 1))), photos=photos)
    images = {cell.id: Generation(cell.id, "done", f"{n:064x}", {}, 0) for n, cell in enumerate(plan.cells)}
    return build_board(plan, images)


def test_a_fifth_is_random_a_tenth_repeats_and_sides_are_fair():
    board, rng = wide_board(6), np.random.default_rng(1)
    votes = [vote for _ in range(4) for vote in session(board, 120, rng, np.zeros(6))]
    why = Counter(vote.why for vote in votes)
    assert why["repeat"] / len(votes) == pytest.approx(0.1, abs=0.04)
    assert why["random"] / (len(votes) - why["repeat"]) == pytest.approx(0.2, abs=0.05)
    fresh = [vote for vote in votes if vote.why != "repeat"]
    left = np.mean([board.where[vote.left][0] < board.where[vote.right][0] for vote in fresh])
    assert left == pytest.approx(0.5, abs=0.07)


def test_repetitions_swap_the_sides_and_keep_their_distance():
    board, rng = wide_board(4), np.random.default_rng(2)
    votes = session(board, 150, rng, np.zeros(4))
    at = {vote.id: n for n, vote in enumerate(votes)}
    repeated = [vote for vote in votes if vote.repeats]
    assert repeated
    for vote in repeated:
        first = votes[at[vote.repeats]]
        assert (first.left, first.right) == (vote.right, vote.left)
        assert at[vote.id] - at[first.id] > REPEAT_AFTER
    assert len({vote.repeats for vote in repeated}) == len(repeated)


def test_the_stored_chance_is_the_chance_with_which_pairs_come():
    board, rng = wide_board(4), np.random.default_rng(3)
    given = session(board, 25, rng, np.array([1.5, 0, 0, -1.5]))
    drawn = [choose_pair(board, given, "identity", "Bob", rng) for _ in range(600)]
    shares = Counter(frozenset((board.where[p.left][0], board.where[p.right][0])) for p in drawn)
    for pair, count in shares.items():
        said = np.mean([p.chance for p in drawn if {board.where[p.left][0], board.where[p.right][0]} == set(pair)])
        assert count / 600 == pytest.approx(said, abs=0.06)


def test_votes_are_spread_over_photographs():
    board, rng = wide_board(2, photos=8), np.random.default_rng(4)
    votes = [vote for vote in session(board, 40, rng, np.zeros(2)) if vote.why != "repeat"]
    photos = Counter(int(board.photos[board.where[vote.left][1]]) for vote in votes)
    assert len(photos) == 8
    assert max(photos.values()) - min(photos.values()) <= 2  # repetitions count where they fall


def test_when_everything_was_judged_nothing_is_left():
    board, rng = wide_board(2, photos=1), np.random.default_rng(5)
    given = session(board, 6, rng, np.zeros(2))  # 1 photograph × 3 edits × 2 seeds
    assert len({frozenset((v.left, v.right)) for v in given if v.why != "repeat"}) >= 5
    pairs = {frozenset((v.left, v.right)) for v in given}
    while len(pairs) < 6:
        pair = choose_pair(board, given, "identity", "Ada", rng)
        given.append(PairVote(new_id(), "Ada", now(), "identity", pair.left, pair.right, "skip", "random", 1.0))
        pairs.add(frozenset((pair.left, pair.right)))
    done = [replace(vote, repeats="x") for vote in given]
    assert choose_pair(board, done, "identity", "Ada", rng) is None


def test_active_choice_names_the_best_of_twelve():
    """Quick version of what bench/review.py counts in full."""
    board = wide_board(12)
    right = 0
    for seed in range(6):
        rng = np.random.default_rng(100 + seed)
        truth = np.concatenate([[1.0, 0.0], -np.abs(rng.normal(0, 0.7, 10))])
        votes = session(board, 120, rng, truth)
        right += int(np.argmax(fit(board, votes).theta)) == 0
    assert right >= 5


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from whichlora.plan.codec import plan_from_json
    from whichlora.review.desk import Desk
    from whichlora.store import Store
    store = Store(Path(sys.argv[1]))
    desk = Desk(store, plan_from_json(store.document("plan")))
    for number in range(int(sys.argv[2])):
        task = desk.pairs("Ada", "identity")[0]
        desk.answer("Ada", task.id, "left")
        print(task.id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_every_acknowledged_vote_survives_kill_9(project):
    folder, _ = project
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(folder), "7"], capture_output=True,
                         text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert [vote.id for vote in stored(folder)] == run.stdout.split()


def test_votes_are_stored_while_a_run_owns_the_project(project, desk):
    from whichlora.workspace import Workspace

    with Workspace(project[0]).owned():
        assert desk.answer("Ada", desk.pairs("Ada", "identity")[0].id, "tie")
