"""Write the pages that are made from the code: what is built, and every setting.

    python docs/generate.py

`tests/test_docs.py` fails while a page is stale.
"""

from pathlib import Path

from pydantic_core import PydanticUndefined

from regard.operations import OPERATIONS
from regard.settings import Settings
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


def pages() -> dict[Path, str]:
    """The generated pages and what they should hold."""
    return {
        DOCS / "coverage.md": coverage.table(OPERATIONS),
        DOCS / "settings.md": settings_page(),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
