"""`evaluate` obeys the same wishes about time as `run`."""

import pytest

from e2e.painted import painted_project
from whichlora.cli._budget import stored_design
from whichlora.cli.main import main


@pytest.fixture
def folder(tmp_path):
    return painted_project(tmp_path / "p", photos=4, edited=2)


def test_a_budget_plans_the_evaluation_and_stays(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--budget", "1m", "--json"])
    assert ended.value.code in (0, None)
    assert '"verdict"' in capsys.readouterr().out
    assert stored_design(folder).budget_s == 60


def test_contradicting_wishes_leave_nothing_behind(folder, capsys):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--budget", "1m", "--full"])
    assert ended.value.code == 2
    assert "contradict" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == before
