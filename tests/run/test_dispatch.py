"""No cell is lost or made twice however workers come and go, and the last cells are shared out."""

from hypothesis import given, settings
from hypothesis import strategies as st

from whichlora.run.dispatch import Board
from whichlora.types import Cell


def cell(candidate, number):
    return Cell(f"{candidate}-{number}", candidate, "case", number)


def board(sizes, weight=lambda _: 1.0):
    return Board([(f"c{i}", [cell(f"c{i}", n) for n in range(size)]) for i, size in enumerate(sizes)], weight)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=120),
)
def test_every_cell_goes_out_once_whoever_dies(sizes, workers, steps):
    made, told = [], {worker: [] for worker in range(workers)}
    todo = board(sizes)
    for step, (number, dies) in enumerate(steps + [(n % workers, False) for n in range(400)]):
        worker = number % workers
        if dies and step < len(steps):
            todo.give_back(worker, told[worker])
            told[worker] = []
        elif told[worker]:
            made.append(told[worker].pop(0))
        elif (item := todo.next(worker)) is not None:
            told[worker].append(item)
    assert sorted(item.id for item in made) == sorted(f"c{i}-{n}" for i, size in enumerate(sizes) for n in range(size))


def test_one_worker_goes_in_the_order_of_the_blocks():
    todo = board([2, 1, 3])
    order = [todo.next(0).id for _ in range(6)]
    assert order == ["c0-0", "c0-1", "c1-0", "c2-0", "c2-1", "c2-2"]
    assert todo.next(0) is None


def test_a_worker_stays_with_its_candidate():
    todo = board([4, 4])
    seen = {0: [], 1: []}
    for _ in range(4):
        for worker in seen:
            seen[worker].append(todo.next(worker).candidate)
    assert seen == {0: ["c0"] * 4, 1: ["c1"] * 4}


def test_an_idle_worker_takes_the_later_half_of_the_costliest_block():
    cost = {"c0": 1.0, "c1": 10.0}
    todo = board([9, 5], lambda item: cost[item.candidate])
    assert todo.next("a").id == "c0-0"
    assert todo.next("b").id == "c1-0"
    assert [todo.next("c").id for _ in range(2)] == ["c1-3", "c1-4"]
    assert todo.next("b").id == "c1-1"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(2, 8), st.data())
def test_nobody_is_left_with_more_than_one_cell_when_another_is_idle(sizes, workers, data):
    costs = {f"c{i}": data.draw(st.integers(1, 20)) for i in range(len(sizes))}
    todo = board(sizes, lambda item: costs[item.candidate])
    free_at = dict.fromkeys(range(workers), 0)
    idle = {}
    while len(idle) < workers:
        worker = min((w for w in free_at if w not in idle), key=free_at.get)
        item = todo.next(worker)
        if item is None:
            idle[worker] = free_at[worker]
        else:
            free_at[worker] += costs[item.candidate]
    assert max(idle.values()) - min(idle.values()) <= max(costs.values())


def test_what_comes_next_is_another_candidate_and_dropping_one_leaves_the_others():
    todo = board([2, 3, 2])
    todo.next("a")
    assert todo.after("a") == "c1"
    assert [item.id for item in todo.drop_candidate("c1")] == ["c1-0", "c1-1", "c1-2"]
    assert todo.after("a") == "c2"
    assert len(todo) == 3


def test_cells_given_back_come_first_and_their_block_behind_them():
    todo = board([4, 1])
    told = [todo.next("a"), todo.next("a")]
    todo.give_back("a", told)
    assert [todo.next("b").id for _ in range(5)] == ["c0-0", "c0-1", "c0-2", "c0-3", "c1-0"]
