"""What a merge's recipe says, and which recipes are refused."""

import pytest

from whichlora.errors import UserError
from whichlora.lora.merge import METHODS, Recipe


@pytest.mark.parametrize("method", METHODS)
def test_a_recipe_reads_back_and_names_only_what_counts(method):
    recipe = Recipe(method, 0.25, seed=3, rank=8, sign="frequency")
    again = Recipe.parse(recipe.text)
    assert again.text == recipe.text
    assert ("seed" in recipe.text) == method.startswith("dare")
    assert Recipe(method, 0.25, seed=3).text == Recipe(method, 0.25, seed=3).text


def test_ignored_settings_do_not_change_a_recipe():
    assert Recipe("cat", 0.2, seed=1, rank=3).text == Recipe("cat", 0.9, seed=2).text
    assert Recipe("ties", 0.2).text != Recipe("ties", 0.3).text


@pytest.mark.parametrize("bad", ["stack", "ties", "ties/99", "ties/1;density=2", "ties/1;speed=1", "ties/1;rank=a b"])
def test_bad_recipes_are_refused(bad):
    with pytest.raises(UserError):
        Recipe.parse(bad)
