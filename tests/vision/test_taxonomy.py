"""The table of labels holds together and covers every class of the networks."""

import csv
import re
from collections import Counter
from graphlib import TopologicalSorter

import pytest

from regard.vision import tags
from regard.vision.objects import COCO_CLASSES
from regard.vision.taxonomy import CATEGORIES, TABLE, concepts, labels_of_classes

with TABLE.open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))

# Of the service model, for the names that filters may hold.
FILTER = r"[A-Za-z0-9àâèçñó'\-_(). ]{1,50}"
SMALL = {"and", "des", "in", "of", "the", "with"}


def cells(row: dict[str, str], column: str) -> list[str]:
    return row[column].split("; ") if row[column] else []


def test_names_and_aliases_are_unique() -> None:
    names = [name for row in ROWS for name in (row["name"], *cells(row, "aliases"))]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_rows_are_in_alphabetical_order() -> None:
    names = [row["name"] for row in ROWS]
    assert names == sorted(names, key=str.casefold)


def test_names_are_in_title_case_and_can_be_filtered_for() -> None:
    for row in ROWS:
        for name in (row["name"], *cells(row, "aliases")):
            assert re.fullmatch(FILTER, name), name
            first, *rest = name.split()
            assert first[0].isupper(), name
            assert all(word[0].isupper() or word in SMALL for word in rest), name


def test_parents_exist_and_no_label_is_above_itself() -> None:
    graph = {row["name"]: cells(row, "parents") for row in ROWS}
    assert {parent for parents in graph.values() for parent in parents} <= graph.keys()
    assert all(len(set(parents)) == len(parents) for parents in graph.values())
    assert len(list(TopologicalSorter(graph).static_order())) == len(ROWS)  # raises CycleError


def test_every_label_has_a_category_and_all_are_rekognitions() -> None:
    assert len(CATEGORIES) == 40
    for concept in concepts().values():
        assert concept.categories, concept.name
        assert set(concept.categories) <= CATEGORIES, concept.name


def test_every_label_can_be_returned() -> None:
    """It stands for a class, or is above a label that does."""
    direct = set(labels_of_classes().values())
    reached = direct.union(*(concepts()[label].parents for label in direct))
    assert concepts().keys() - reached == set()


def test_every_class_of_the_networks_has_one_label() -> None:
    classes = Counter(name for row in ROWS for name in cells(row, "classes"))
    assert [name for name, count in classes.items() if count > 1] == []
    assert {f"coco:{name}" for name in COCO_CLASSES} == {name for name in classes if name.startswith("coco:")}
    assert {f"imagenet:{name}" for _, name in tags.classes()} == {
        name for name in classes if name.startswith("imagenet:")
    }


@pytest.mark.parametrize(
    ("name", "parents", "aliases", "categories"),
    [
        ("Dog", ("Animal", "Canine", "Mammal", "Pet"), (), ("Animals and Pets",)),
        ("Golden Retriever", ("Animal", "Canine", "Dog", "Mammal", "Pet", "Retriever"), (), ("Animals and Pets",)),
        ("Tabby Cat", ("Animal", "Cat", "Feline", "Mammal", "Pet"), (), ("Animals and Pets",)),
        ("Mobile Phone", ("Electronics", "Phone"), ("Cell Phone",), ("Technology and Computing",)),
        ("Car", ("Transportation", "Vehicle"), ("Automobile",), ("Vehicles and Automotive",)),
        ("Smile", ("Face", "Happy", "Head", "Person"), (), ("Expressions and Emotions",)),
        ("Person", (), ("Human",), ("Person Description",)),
        ("Sunglasses", ("Accessories", "Glasses"), (), ("Apparel and Accessories",)),
    ],
)
def test_labels_are_as_clients_of_rekognition_know_them(
    name: str, parents: tuple[str, ...], aliases: tuple[str, ...], categories: tuple[str, ...]
) -> None:
    concept = concepts()[name]
    assert (concept.parents, concept.aliases, concept.categories) == (parents, aliases, categories)


def test_classes_of_two_networks_that_mean_the_same_share_a_label() -> None:
    labels = labels_of_classes()
    assert labels["coco:laptop"] == labels["imagenet:laptop"] == "Laptop"
    assert labels["coco:mouse"] == labels["imagenet:mouse"] == "Mouse"
    assert labels["coco:banana"] == labels["imagenet:banana"] == "Banana"
    assert labels["imagenet:sunglasses"] == labels["face:sunglasses"] == "Sunglasses"
