"""The configurations that are shipped to be copied are good, and the coil's data beside them choose a recipe."""

from pathlib import Path

from linewatch.config.grading_file import gradings_for
from linewatch.config.load import load_settings
from linewatch.config.recipe import choose_recipe
from linewatch.config.taxonomy import Taxonomy
from linewatch.daemon.coils.folder import read_coil_file
from linewatch.wire.encode import coil_data_from

ROOT = Path(__file__).parents[2]


def test_the_example_of_recipes_is_good_and_its_coil_has_one(monkeypatch):
    monkeypatch.chdir(ROOT)
    settings = load_settings(Path("configs/level2.toml"))
    assert gradings_for(settings, Taxonomy.read())
    recipe = choose_recipe(settings.recipe, coil_data_from(read_coil_file(Path("configs/coils/SIM-7.toml"))))
    assert recipe is not None
    assert recipe.name == "exposed"
