"""The next step that an error names can be copied: it names the project that was asked for."""

from pathlib import Path

import pytest

from whichlora.cli.doctor import profile_fixes
from whichlora.cli.fetch import known_without_hub
from whichlora.cli.output import guarded
from whichlora.errors import ProjectError
from whichlora.fetch.planning import Request
from whichlora.machine.memory import GIB, fit_all
from whichlora.survey.names import Reference
from whichlora.survey.places import FoundFile


@guarded
def _verb(**_: object) -> None:
    raise ProjectError("Nothing was run.", fix="Run: whichlora run PROJECT --full")


@pytest.mark.parametrize(("arguments", "named"), [
    ({"folder": Path("mina")}, "whichlora run mina --full"),
    ({"project": Path("two words")}, "whichlora run 'two words' --full"),
    ({"folders": [Path("mina")]}, "whichlora run mina --full"),
    ({"folders": [Path("one"), Path("two")]}, "whichlora run PROJECT --full"),
    ({"project": None}, "whichlora run PROJECT --full"),
])
def test_a_fix_names_the_project(capsys, arguments, named):
    with pytest.raises(SystemExit) as left:
        _verb(**arguments)
    assert left.value.code == 2
    assert named in capsys.readouterr().err


def test_every_profile_that_does_not_fit_says_what_it_needs():
    fits = fit_all(24 * GIB, 32 * GIB)
    lines = profile_fixes(fits, has_gpu=True)
    lacking = [fit.profile for fit in fits if not fit.fits]
    assert lacking
    assert [line.split(":")[0] for line in lines] == [profile.name for profile in lacking]
    assert all(f"{profile.vram_gib:.1f} GiB of VRAM" in line for profile, line in zip(lacking, lines, strict=True))
    assert len(profile_fixes(fit_all(0, 32 * GIB), has_gpu=False)) == 1


def test_without_the_hub_fetch_says_what_is_asked_for_and_what_is_here():
    here = FoundFile(Path("/c/a.safetensors"), 2_000_000, "Hub cache", "loras", "a/one", "a.safetensors")
    other = FoundFile(Path("/c/b.safetensors"), 5_000_000, "Hub cache", "loras", "b/two", "b.safetensors")
    request = Request((Reference("a/one", "a.safetensors"), Reference("a/one", "b.safetensors"),
                       Reference("c/base", None)))
    lines = known_without_hub(request, [here, other])
    assert [line.strip() for line in lines[1:]] == [
        "a/one:a.safetensors: 1 weight file, 2.0 MB (Hub cache)", "a/one:b.safetensors: nothing here",
        "c/base: nothing here",
    ]
