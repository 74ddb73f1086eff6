"""What every evaluation must have, whatever it measures."""

import re
from pathlib import Path

from regard.evaluate.registry import _ALL, EVALUATIONS
from regard.vision import models


def test_names_are_unique_and_fit_for_ids() -> None:
    assert len(EVALUATIONS) == len(_ALL)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in EVALUATIONS)


def test_they_judge_networks_that_there_are() -> None:
    known = {network.name for network in models.networks()}
    assert all(evaluation.networks and set(evaluation.networks) <= known for evaluation in _ALL)


def test_they_are_left_out_where_their_data_is_not(tmp_path: Path) -> None:
    assert not any(evaluation.possible(tmp_path) for evaluation in _ALL)


def test_they_are_possible_where_it_is(evaluation_data: Path) -> None:
    assert all(evaluation.possible(evaluation_data) for evaluation in _ALL)
