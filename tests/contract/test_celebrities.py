"""Celebrities: the operator's own list, imported by the command line, recognised through boto3, and left out again."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

HEADER = "id,name,gender,urls\n"
OBAMA = "44,Barack Obama,Male,https://www.wikidata.org/wiki/Q76 https://example.org/obama\n"
BIDEN = "46,Joe Biden,,\n"


@pytest.fixture(scope="module")
def people(photos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a list and pictures, two of them of one person."""
    folder = tmp_path_factory.mktemp("people")
    (folder / "44").mkdir()
    for name in ("obama", "obama3"):
        shutil.copy(photos[name], folder / "44" / photos[name].name)
    Image.new("RGB", (200, 200)).save(folder / "44" / "nobody.png")
    shutil.copy(photos["biden"], folder / "46.jpg")
    (folder / "people.csv").write_text(HEADER + OBAMA + BIDEN)
    return folder


@pytest.fixture(scope="module")
def celebrities(deploy: Callable[..., Any]) -> Iterator[Any]:
    """A server with no celebrities yet, and `regard` for its operator."""
    server = deploy().start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def client(celebrities: Any) -> Iterator[Any]:
    with closing(celebrities.client()) as client:
        yield client


def names(client: Any, image: bytes) -> tuple[list[str], int]:
    """Who is recognised, and how many are not."""
    answer = client.recognize_celebrities(Image={"Bytes": image})
    return [face["Name"] for face in answer["CelebrityFaces"]], len(answer["UnrecognizedFaces"])


def test_without_a_list_nobody_is_recognised(client: Any, two_people: bytes, faceless: bytes) -> None:
    assert names(client, two_people) == ([], 2)
    assert names(client, faceless) == ([], 0)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_celebrity_info(Id="44")


def test_who_is_imported_is_recognised_and_nobody_else(
    celebrities: Any, client: Any, people: Path, two_people: bytes, photos: dict[str, Path]
) -> None:
    printed = celebrities.deployment.regard("celebrities", "import", str(people))
    assert "2 of 2 people can be recognised, by 3 faces." in printed
    assert "nobody.png: not used: no face" in " ".join(printed.split())

    answer = client.recognize_celebrities(Image={"Bytes": two_people})
    assert [face["Id"] for face in answer["CelebrityFaces"]] == ["46", "44"]  # the largest face first
    biden, obama = answer["CelebrityFaces"]
    assert obama["Name"] == "Barack Obama"
    assert obama["Urls"] == ["https://www.wikidata.org/wiki/Q76", "https://example.org/obama"]
    assert obama["KnownGender"] == {"Type": "Male"}
    assert biden["KnownGender"] == {"Type": "Unlisted"}
    assert biden["Urls"] == []
    assert 50 < obama["MatchConfidence"] <= 100
    assert obama["Face"]["BoundingBox"]["Left"] > biden["Face"]["BoundingBox"]["Left"]
    assert set(obama["Face"]) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality", "Emotions", "Smile"}
    assert answer["UnrecognizedFaces"] == []
    for stranger in ("hopper", "astronaut"):
        assert names(client, photos[stranger].read_bytes()) == ([], 1)

    info = client.get_celebrity_info(Id="44")
    assert (info["Name"], info["KnownGender"]) == ("Barack Obama", {"Type": "Male"})
    assert info["Urls"] == obama["Urls"]


def test_celebrities_are_no_collection_that_a_client_can_reach(client: Any) -> None:
    assert client.list_collections()["CollectionIds"] == []
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.list_faces(CollectionId="celebrities")
    client.create_collection(CollectionId="celebrities")  # the name is the account's own
    assert client.describe_collection(CollectionId="celebrities")["FaceCount"] == 0
    client.delete_collection(CollectionId="celebrities")


def test_importing_again_replaces_and_removing_forgets(
    celebrities: Any, client: Any, people: Path, two_people: bytes, tmp_path: Path
) -> None:
    regard = celebrities.deployment.regard
    again = tmp_path / "again.csv"
    again.write_text(HEADER + OBAMA.replace("Barack Obama", "Barack H. Obama") + BIDEN)
    regard("celebrities", "import", str(people), "--info", str(again))
    assert names(client, two_people) == (["Joe Biden", "Barack H. Obama"], 0)
    assert [c["Id"] for c in json.loads(regard("celebrities", "list", "--json"))["Celebrities"]] == ["44", "46"]

    assert regard("celebrities", "remove", "46") == "46 is forgotten.\n"
    assert names(client, two_people) == (["Barack H. Obama"], 1)


def test_an_opt_out_is_honoured_by_id_and_by_name(
    celebrities: Any, client: Any, people: Path, two_people: bytes, tmp_path: Path
) -> None:
    deployment = celebrities.deployment
    deployment.regard("celebrities", "import", str(people))
    assert names(client, two_people) == (["Joe Biden", "Barack Obama"], 0)
    printed = deployment.regard("celebrities", "opt-out", "44", "--reason", "by letter")
    assert printed == "44 is forgotten and kept out of every import.\n"
    assert names(client, two_people) == (["Joe Biden"], 1)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_celebrity_info(Id="44")

    shutil.copytree(people, tmp_path / "renamed")
    (tmp_path / "renamed" / "44").rename(tmp_path / "renamed" / "new44")
    (tmp_path / "renamed" / "people.csv").write_text(HEADER + OBAMA.replace("44,Barack", "new44,BARACK") + BIDEN)
    for folder in (people, tmp_path / "renamed"):
        with pytest.raises(Exception, match="exit status 1"):
            deployment.regard("celebrities", "import", str(folder))
        assert names(client, two_people) == (["Joe Biden"], 1)
    (note,) = json.loads(deployment.regard("celebrities", "list", "--json"))["OptOuts"]
    assert (note["Id"], note["Name"], note["Reason"]) == ("44", "Barack Obama", "by letter")

    deployment.regard("celebrities", "opt-out", "44", "--withdraw")
    deployment.regard("celebrities", "import", str(people))
    assert names(client, two_people) == (["Joe Biden", "Barack Obama"], 0)
