"""One project with its server, and a page that notes what goes wrong."""

import pytest

from review import planted
from web.serving import running


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser") / "p"
    plan = planted.make_project(folder, planted.make_plan(photos=5))
    with running(folder) as server:
        yield folder, plan, server


@pytest.fixture
def page(chromium):
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
