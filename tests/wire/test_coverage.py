import pytest

from regard.wire.coverage import GROUPS, table
from regard.wire.service import operation_names


def test_every_operation_is_in_one_group():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(operation_names())


def test_the_page_says_what_is_built():
    page = table(["DetectFaces", "TagResource"])
    rows = [line for line in page.splitlines() if line.endswith(("| built |", "| not yet |"))]
    assert len(rows) == 75
    assert "| DetectFaces | Image analysis | built |" in rows
    assert "| TagResource | Tags | built |" in rows
    assert sum(row.endswith("| built |") for row in rows) == 2
    assert "2 of the 75 operations" in page
    assert "| Tags | 1 | 3 |" in page
    assert "| **All** | **2** | **75** |" in page


def test_everything_and_nothing_can_be_built():
    assert "not yet |" not in table(operation_names())
    assert "| built |" not in table([])


def test_a_handler_for_no_operation_is_an_error():
    with pytest.raises(ValueError, match="DetectGhosts"):
        table(["DetectGhosts"])
