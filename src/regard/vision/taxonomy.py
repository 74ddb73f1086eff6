"""The names that labels have, how they stand above each other, and which classes of the networks they stand for.

`labels.csv` has one row a label: its name, its direct parents, its categories (empty: those of its parents), its
aliases, and the classes that mean it. A class is written `coco:dog`, `imagenet:tabby` or `face:smile`: the
network's field and its own name for it. Names, aliases, parents and categories follow Amazon Rekognition's
style, so that filters and dashboards written for it go on working; the labels themselves are those that
the networks can tell.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("labels.csv")

CATEGORIES = frozenset(
    {
        "Actions",
        "Animals and Pets",
        "Apparel and Accessories",
        "Beauty and Personal Care",
        "Buildings and Architecture",
        "Colors and Visual Composition",
        "Damage Detection",
        "Education",
        "Events and Attractions",
        "Everyday Objects",
        "Expressions and Emotions",
        "Food and Beverage",
        "Furniture and Furnishings",
        "Health and Fitness",
        "Hobbies and Interests",
        "Home Appliances",
        "Home and Indoors",
        "Kitchen and Dining",
        "Materials",
        "Medical",
        "Nature and Outdoors",
        "Offices and Workspaces",
        "Patterns and Shapes",
        "Performing Arts",
        "Person Description",
        "Plants and Flowers",
        "Popular Landmarks",
        "Profession",
        "Public Safety",
        "Religion",
        "Sports",
        "Symbols and Flags",
        "Technology and Computing",
        "Text and Documents",
        "Tools and Machinery",
        "Toys and Gaming",
        "Transport and Logistics",
        "Travel and Adventure",
        "Vehicles and Automotive",
        "Weapons and Military",
    }
)
"""All of Rekognition's label categories; the networks have labels for some of them only."""


@dataclass(frozen=True, slots=True)
class Concept:
    """What a label means. `parents` are all its ancestors; every tuple is in alphabetical order."""

    name: str
    parents: tuple[str, ...]
    categories: tuple[str, ...]
    aliases: tuple[str, ...]


@cache
def concepts() -> Mapping[str, Concept]:
    """Every label by name."""
    rows = _rows()
    return {
        name: Concept(
            name, tuple(sorted(_ancestors(name))), tuple(sorted(_categories(name))), tuple(sorted(row["aliases"]))
        )
        for name, row in rows.items()
    }


@cache
def labels_of_classes() -> Mapping[str, str]:
    """The label that stands for a class, by the class's name with its field, such as `coco:dog`."""
    return {name: label for label, row in _rows().items() for name in row["classes"]}


@cache
def _rows() -> Mapping[str, Mapping[str, list[str]]]:
    """The table by label, its cells split."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {
            row.pop("name"): {column: cell.split("; ") if cell else [] for column, cell in row.items()}
            for row in csv.DictReader(file)
        }


def _ancestors(name: str) -> set[str]:
    parents = _rows()[name]["parents"]
    return set(parents).union(*map(_ancestors, parents))


def _categories(name: str) -> set[str]:
    row = _rows()[name]
    return set(row["categories"]) or set().union(*map(_categories, row["parents"]))
