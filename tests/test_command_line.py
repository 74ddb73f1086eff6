"""The `regard` command, as an operator types it in a shell."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from regard.cli import app
from regard.settings import Settings

Finished = subprocess.CompletedProcess[str]
Regard = Callable[..., Finished]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that lead to it, the groups of commands included."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


EVERY = dict(commands(get_command(app)))


@pytest.fixture(scope="module")
def regard(tmp_path_factory: pytest.TempPathFactory) -> Regard:
    """`regard("keys", "list")` is that command, finished, in a data folder of this module."""
    home = tmp_path_factory.mktemp("home")

    def run(*words: str | Path, **environment: str) -> Finished:
        return subprocess.run(
            [sys.executable, "-m", "regard", *words],
            env=os.environ | {"REGARD_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def first_key(regard: Regard) -> dict[str, str]:
    """What `regard init --json` prints."""
    finished = regard("init", "--json")
    assert finished.returncode == 0, finished.stderr
    key: dict[str, str] = json.loads(finished.stdout)
    return key


def test_help_names_the_first_steps(regard: Regard) -> None:
    finished = regard("--help")
    assert finished.returncode == 0
    for step in ("regard models fetch", "regard init", "regard serve", "AWS_ENDPOINT_URL_REKOGNITION"):
        assert step in finished.stdout


@pytest.mark.parametrize("words", EVERY, ids=lambda words: " ".join(words) or "regard")
def test_every_command_explains_itself_and_its_options(words: tuple[str, ...]) -> None:
    finished = CliRunner().invoke(app, [*words, "--help"])
    assert finished.exit_code == 0
    assert " ".join(["Usage:", "root", *words]) in finished.stdout
    command = EVERY[words]
    assert command.help
    assert all(parameter.help for parameter in command.params)


def test_an_unknown_command_is_refused(regard: Regard) -> None:
    finished = regard("dance")
    assert finished.returncode == 2
    assert "No such command 'dance'" in finished.stderr


def test_init_prints_a_key_once(regard: Regard, first_key: dict[str, str]) -> None:
    assert set(first_key) == {"AccessKeyId", "SecretAccessKey", "AccountId", "Region"}
    assert len(first_key["SecretAccessKey"]) == 40
    again = regard("init")
    assert again.returncode == 1
    assert again.stdout == ""
    assert "`regard keys create` makes another key" in again.stderr


def test_keys_are_made_listed_and_revoked(regard: Regard, first_key: dict[str, str]) -> None:
    made = json.loads(regard("keys", "create", "--description", "front door", "--json").stdout)
    assert made["AccountId"] == first_key["AccountId"]
    listing = regard("keys", "list", "--json")
    listed = json.loads(listing.stdout)
    assert [key["AccessKeyId"] for key in listed] == [first_key["AccessKeyId"], made["AccessKeyId"]]
    assert listed[1]["Description"] == "front door"
    assert listed[1]["Revoked"] is None
    for key in (first_key, made):
        assert key["SecretAccessKey"] not in listing.stdout

    assert regard("keys", "revoke", made["AccessKeyId"]).stdout == f"{made['AccessKeyId']} is revoked.\n"
    table = regard("keys", "list").stdout
    assert "front door" in table
    (row,) = (line for line in table.splitlines() if made["AccessKeyId"] in line)
    assert "revoked" in row
    again = regard("keys", "revoke", made["AccessKeyId"])
    assert again.returncode == 1
    assert "There is no valid key" in again.stderr


def test_a_key_for_people_can_be_pasted_into_a_shell(regard: Regard, first_key: dict[str, str]) -> None:
    script = regard("keys", "create").stdout
    shell = subprocess.run(
        ["/bin/sh", "-c", f"{script}\nenv"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    exported = dict(line.split("=", 1) for line in shell.stdout.splitlines())
    assert exported["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    assert len(exported["AWS_SECRET_ACCESS_KEY"]) == 40
    assert exported["AWS_DEFAULT_REGION"] == first_key["Region"]
    assert exported["AWS_ENDPOINT_URL_REKOGNITION"] == "http://127.0.0.1:8742"


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("127.0.0.1", "http://127.0.0.1:8742"),
        ("regard.example.org", "http://regard.example.org:8742"),
        ("0.0.0.0", "http://127.0.0.1:8742"),  # noqa: S104
        ("::", "http://[::1]:8742"),
        ("fd00::7", "http://[fd00::7]:8742"),
    ],
)
def test_the_endpoint_is_one_that_clients_can_use(host: str, endpoint: str) -> None:
    assert Settings(host=host).endpoint == endpoint


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"REGARD_DATABASE_URL": "mysql://x/y"}, "REGARD_DATABASE_URL must start with postgresql://"),
        ({"REGARD_DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "cannot reach the database"),
        ({"REGARD_MASTER_KEY": "c2hvcnQ="}, "the master key must be 32 bytes, this is 5"),
        ({"REGARD_MASTER_KEY": "!"}, "REGARD_MASTER_KEY is not base64"),
    ],
    ids=["database", "unreachable", "short key", "bad key"],
)
def test_a_wrong_setting_is_explained_in_a_sentence(regard: Regard, environment: dict[str, str], text: str) -> None:
    finished = regard("keys", "create", **environment)
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert text in finished.stderr
    assert "Traceback" not in finished.stderr


def test_networks_are_listed_with_their_licences(regard: Regard, cache: Path) -> None:
    listed = json.loads(regard("models", "list", "--json").stdout)
    assert {"yunet", "sface"} <= {network["Name"] for network in listed}
    assert all(network["Licence"] and network["Source"] and len(network["Sha256"]) == 64 for network in listed)
    table = regard("models", "list").stdout
    assert all(network["Name"] in table for network in listed)


def test_networks_that_are_missing_are_told_by_the_exit_status(regard: Regard, cache: Path, tmp_path: Path) -> None:
    assert regard("models", "verify", REGARD_CACHE=str(cache)).returncode == 0
    finished = regard("models", "verify", REGARD_CACHE=str(tmp_path))
    assert finished.returncode == 1
    assert "missing" in finished.stdout
    served = regard("serve", REGARD_CACHE=str(tmp_path))
    assert served.returncode == 1
    assert "regard models fetch" in served.stderr
    assert "Traceback" not in served.stderr


def test_a_network_that_was_damaged_is_found(regard: Regard, cache: Path, tmp_path: Path) -> None:
    copy = tmp_path / "networks"
    copy.mkdir()
    for file in (cache / "networks").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    with (copy / "yunet.onnx").open("r+b") as network:
        network.write(b"damaged")
    finished = regard("models", "verify", REGARD_CACHE=str(tmp_path))
    assert finished.returncode == 1
    (line,) = (line for line in finished.stdout.splitlines() if " yunet " in line)
    assert line.startswith("damaged")


def test_a_photo_is_looked_at_without_a_server(
    regard: Regard, cache: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    finished = regard("look", photos["obama"], photos["hopper"], "-o", out, "--only", "faces")
    assert finished.returncode == 0, finished.stderr
    assert "obama.jpg" in finished.stdout
    assert "years" in finished.stdout
    drawn = sorted(out.iterdir())
    assert [file.suffix for file in drawn] == [".png", ".png"]
    with Image.open(photos["hopper"]) as photo, Image.open(drawn[0]) as picture:
        assert picture.format == "PNG"
        assert picture.size == photo.size
        assert picture.convert("RGB").tobytes() != photo.convert("RGB").tobytes()


def test_what_cannot_be_looked_for_is_refused_with_what_can(regard: Regard, photos: dict[str, Path]) -> None:
    finished = regard("look", photos["obama"], "--only", "ghosts")
    assert finished.returncode == 2
    assert "ghosts: choose of faces, labels, text, moderation, equipment" in " ".join(finished.stderr.split())


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_looked_at(
    regard: Regard, cache: Path, photos: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos["obama"].read_bytes()[:-20_000])
    text = tmp_path / "note.jpg"
    text.write_text("no picture")
    finished = regard("look", broken, photos["obama"], text, "-o", tmp_path / "out", "--only", "faces")
    assert finished.returncode == 1
    output = finished.stdout + finished.stderr
    assert "broken.jpg: the file ends too early" in output
    assert "note.jpg: neither JPEG nor PNG" in output
    assert "Traceback" not in output
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_photo_that_is_not_there_is_a_mistake_of_usage(regard: Regard, tmp_path: Path) -> None:
    finished = regard("look", tmp_path / "nothing.jpg")
    assert finished.returncode == 2
    assert "nothing.jpg" in finished.stderr


def test_calibrating_on_a_folder_without_people_is_refused_in_a_sentence(regard: Regard, tmp_path: Path) -> None:
    finished = regard("calibrate", tmp_path, "--out", tmp_path / "mine.json")
    assert finished.returncode == 1
    assert "neither labels.csv nor pictures" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "mine.json").exists()
