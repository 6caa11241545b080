"""The time left follows the work of each kind of cell; patience follows what cells took."""

import pytest

from whichlora.run.pace import Pace, Patience, waiting_share, work_of
from whichlora.types import BaseModel, Candidate, Cell, EditCase, Plan, SamplerProfile

SLOW = SamplerProfile("default", 40, 4.0)
FAST = SamplerProfile("lightning", 8, 1.0)
CASE = EditCase("p/e", "p", "e", "camera", "turn", {})


def plan():
    rows = (Candidate("base", sampler=SLOW, role="base"), Candidate("fast", sampler=FAST),
            Candidate("do-nothing", sampler=SLOW, role="control", control="do-nothing"))
    return Plan("t", BaseModel("m", "painter", "", "f"), rows, (), (), (), (CASE,), (), (), "other", (), 0.7, {})


def cells(name, count):
    return [Cell(f"{name}{n}", name, CASE.id, n) for n in range(count)]


def test_work_counts_forwards_and_pixels():
    rows = {row.name: row for row in plan().candidates}
    assert work_of(rows["base"], CASE)[1] == pytest.approx(10 * work_of(rows["fast"], CASE)[1])
    assert work_of(rows["do-nothing"], CASE) == ("control", 0.0)


def test_eight_steps_are_not_priced_like_forty_with_guidance():
    pace = Pace(plan())
    slow, fast = cells("base", 50), cells("fast", 50)
    pace.expect([*slow, *fast])
    assert pace.eta_s(1, 0) is None
    for number, cell in enumerate(slow[:5]):
        pace.finished(cell, 10.5, 10.0, first=number == 0)
    # 45 slow ones at 10.5 s, and 50 fast ones of a tenth of the forwards behind the same 0.5 s of everything else.
    assert pace.eta_s(1, 0) == pytest.approx(45 * 10.5 + 50 * 1.5)
    assert pace.eta_s(4, 0) == pytest.approx((45 * 10.5 + 50 * 1.5) / 4)
    pace.finished(fast[0], 2.0, 1.5, first=False)
    assert pace.eta_s(1, 0) == pytest.approx(45 * 10.5 + 49 * 2.0)
    pace.switched(3.0)
    assert pace.eta_s(1, 2) == pytest.approx(45 * 10.5 + 49 * 2.0 + 6.0)


def test_a_first_cell_counts_only_until_there_is_another():
    pace = Pace(plan())
    slow = cells("base", 10)
    pace.expect(slow)
    pace.finished(slow[0], 60.0, 60.0, first=True)
    assert pace.eta_s(1, 0) == pytest.approx(9 * 60.0)
    pace.finished(slow[1], 10.0, 10.0, first=False)
    pace.finished(slow[2], 70.0, 70.0, first=True)
    assert pace.eta_s(1, 0) == pytest.approx(7 * 10.0)


def test_control_rows_are_not_taken_for_edits():
    pace = Pace(plan())
    controls, slow = cells("do-nothing", 4), cells("base", 4)
    pace.expect([*controls, *slow])
    for cell in controls:
        pace.finished(cell, 0.01, 0.0, first=False)
    assert pace.eta_s(1, 0) is None
    pace.finished(slow[0], 8.0, 8.0, first=False)
    assert pace.eta_s(1, 0) == pytest.approx(24.0)


def test_patience_is_generous_first_and_then_follows_the_cells():
    pace = Pace(plan(), Patience(first_s=1800, least_s=5, factor=10))
    slow, fast = cells("base", 4), cells("fast", 4)
    pace.expect([*slow, *fast])
    assert pace.deadline_s(slow[0]) == 1800
    pace.finished(cells("do-nothing", 1)[0], 0.01, 0.0, first=True)
    assert pace.deadline_s(slow[0]) == 1800
    pace.finished(slow[0], 30.0, 30.0, first=True)
    pace.finished(slow[1], 10.0, 10.0, first=False)
    assert pace.deadline_s(slow[2]) == pytest.approx(300)
    assert pace.deadline_s(fast[0]) == pytest.approx(10 * 1.0)
    pace.switched(4.0)
    assert pace.deadline_s(fast[0]) == pytest.approx(10 * 5.0)
    assert Pace(plan(), Patience(first_s=7)).deadline_s(slow[0]) == 7


def test_the_devices_waiting_is_a_share_of_what_pictures_took():
    control = {"total": 5.0, "gap": 3.0}
    of_an_earlier_version = {"denoise": 100.0, "decode": 1.0, "total": 101.0}
    told = [{"denoise": 8.0, "decode": 1.0, "gap": 0.5}, {"denoise": 8.0, "decode": 2.0, "gap": 0.5}]
    assert waiting_share([control, of_an_earlier_version, *told]) == pytest.approx(1 / 20)
    assert waiting_share([control, of_an_earlier_version]) is None
