"""Shared by all tests: no network, no stray state, and a switch for the part that needs no torch."""

import os
import shutil
import sys
from pathlib import Path

import pytest

# Tests borrow each other's builders by folder, such as `from families import tiny`.
sys.path.insert(0, str(Path(__file__).parent))

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Nothing in the tests may reach a real hub; those that speak to a local one set their own endpoint.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser):
    parser.addoption("--torchless", action="store_true", help="fail if a test imports torch")
    parser.addoption("--slow", action="store_true", help="also run the long counts")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="long count; run with --slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def chromium():
    """A system Chromium, one for all tests of a process; its absence is a failure, not a skip."""
    from playwright.sync_api import sync_playwright

    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
    path = next(filter(None, found), None)
    if path is None:
        pytest.fail("These tests need a Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _torchless(request):
    yield
    if request.config.getoption("--torchless"):
        assert "torch" not in sys.modules, "this test imported torch"
