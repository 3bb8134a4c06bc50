"""Every broken twin is caught by the checker, in a scene that the whole hub passes without a finding."""

from __future__ import annotations

import pathlib

import pytest

from tests.chaos.checker import Figures
from tests.chaos.twin_scenes import SCENES
from tests.chaos.twin_stage import stage
from tests.chaos.twins import TWINS, apply


async def played(request: pytest.FixtureRequest, folder: pathlib.Path, twin: str, *, broken: bool) -> Figures:
    scene = SCENES[twin]
    store = request.getfixturevalue("postgres_url") if scene.fleet else None
    settings = {"crm_settings": scene.crm_settings, "erp_settings": scene.erp_settings}
    async with stage(folder, twin if broken else None, store=store, **settings) as on:
        return await scene.play(on)


@pytest.mark.parametrize("twin", TWINS)
async def test_the_whole_hub_passes_the_scene(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, twin: str
) -> None:
    figures = await played(request, tmp_path, twin, broken=False)
    assert figures.details == []
    assert figures.clean, figures.wrong


@pytest.mark.parametrize("twin", TWINS)
async def test_the_broken_twin_is_caught(request: pytest.FixtureRequest, tmp_path: pathlib.Path, twin: str) -> None:
    figures = await played(request, tmp_path, twin, broken=True)
    assert SCENES[twin].shows <= figures.wrong.keys(), figures.details


def test_there_is_a_scene_for_every_twin() -> None:
    assert SCENES.keys() == TWINS.keys()


def test_an_unknown_twin_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(ValueError, match="no-probe"):
        apply("no-such-twin")
