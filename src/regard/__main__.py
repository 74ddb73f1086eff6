"""`python -m regard` is the command line."""

from regard.cli import app

app(prog_name="regard")
