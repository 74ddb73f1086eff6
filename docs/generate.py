"""Write the pages that are made from the code: what is built, every setting, every label.

    python docs/generate.py

`tests/test_docs.py` fails while a page is stale.
"""

from pathlib import Path

from pydantic_core import PydanticUndefined

from regard.operations import OPERATIONS
from regard.settings import Settings
from regard.vision.objects import COCO_CLASSES
from regard.vision.taxonomy import CATEGORIES, Concept, concepts, labels_of_classes
from regard.wire import coverage

DOCS = Path(__file__).parent

SETTINGS = """# Settings

Every setting is an environment variable; `regard.env` in the data folder may hold them too, one `NAME=value` a
line (the environment wins). `REGARD_HOME` itself can only come from the environment.

| Variable | Default | What it does |
| --- | --- | --- |
"""


def settings_page() -> str:
    """`settings.md`: one row for each setting."""
    rows = []
    for name, field in Settings.model_fields.items():
        if field.default_factory is not None:
            default = "the cores that this process may use"
        elif field.default is None or field.default is PydanticUndefined:
            default = "unset"
        elif isinstance(field.default, tuple):
            default = f"`{','.join(field.default)}`"
        else:
            default = f"`{str(field.default).replace(str(Path.home()), '~')}`"
        if name == "home":
            default = "`~/.regard`"
        rows.append(f"| `REGARD_{name.upper()}` | {default} | {field.description} |\n")
    return SETTINGS + "".join(rows)


LABEL_NAMES = """# Label names

Every label that DetectLabels can return, by category; what they mean and where they come from is in
[labels.md](labels.md). Those in bold come with boxes. A name in brackets is an alias.
"""


def label_names_page() -> str:
    """`label-names.md`: the names of each category, and the categories that have none."""
    boxed = {labels_of_classes()[f"coco:{name}"] for name in COCO_CLASSES}

    def shown(concept: Concept) -> str:
        name = f"**{concept.name}**" if concept.name in boxed else concept.name
        return f"{name} ({', '.join(concept.aliases)})" if concept.aliases else name

    parts = [LABEL_NAMES]
    for category in sorted(CATEGORIES):
        named = [shown(concept) for concept in concepts().values() if category in concept.categories]
        parts.append(f"\n## {category}\n\n{', '.join(named) or 'None.'}\n")
    return "".join(parts)


def pages() -> dict[Path, str]:
    """The generated pages and what they should hold."""
    return {
        DOCS / "coverage.md": coverage.table(OPERATIONS),
        DOCS / "settings.md": settings_page(),
        DOCS / "label-names.md": label_names_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
