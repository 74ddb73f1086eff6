"""Who uses a network may read its card at the server, in a browser or with a program, without a key."""

import json
import urllib.error
import urllib.request
from html.parser import HTMLParser
from typing import Any

import pytest

from regard.evaluate import cards, document
from regard.vision import models

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
NAMES = [network.name for network in models.networks()]


def get(server: Any, path: str, accept: str = "*/*") -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(server.endpoint + path, headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, {k.lower(): v for k, v in response.headers.items()}, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode()


def test_a_program_reads_every_network(server: Any) -> None:
    status, headers, body = get(server, "/-/models")
    assert status == 200
    assert headers["content-type"] == "application/json"
    answer = json.loads(body)
    assert [entry["Name"] for entry in answer["Models"]] == NAMES
    assert answer["Remarks"] == []
    for entry, network in zip(answer["Models"], models.networks(), strict=True):
        assert entry["State"] == "ok"
        assert (entry["Sha256"], entry["Licence"], entry["Source"]) == (network.sha256, network.licence, network.source)
        assert (*entry["Card"]["Sections"],) == cards.SECTIONS
        assert entry["NotFor"] == entry["Card"]["Sections"]["Not for"]
        assert "<!--" not in body


def test_figures_are_those_of_the_published_report(server: Any) -> None:
    published = document.published()
    for entry in json.loads(get(server, "/-/models")[2])["Models"]:
        expected = {key for found in published.judging(entry["Name"]) for key, _ in found.figures()}
        assert {figure["Id"] for figure in entry["Figures"]} == expected
        for figure in entry["Figures"]:
            assert figure["Count"] == published.figures()[figure["Id"]].count
            assert figure.get("Value") == published.figures()[figure["Id"]].value


@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_answered_alone(server: Any, name: str) -> None:
    every = json.loads(get(server, "/-/models")[2])["Models"]
    assert json.loads(get(server, f"/-/models/{name}")[2]) == every[NAMES.index(name)]


class Page(HTMLParser):
    """What a page would fetch or run, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            assert attributes["alt"]
        self.sources += [str(value) for name, value in attrs if name in ("src", "srcset", "data")]
        if tag == "a":
            self.links.append(str(attributes["href"]))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_a_browser_gets_pages_that_fetch_nothing(server: Any) -> None:
    status, headers, body = get(server, "/-/models", BROWSER)
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    index = Page(body)
    assert {f"/-/models/{name}" for name in NAMES} <= set(index.links)
    for link in {link for link in index.links if link.startswith("/")}:
        status, _, body = get(server, link, BROWSER)
        assert status == 200
        page = Page(body)
        assert "script" not in page.tags
        assert all(source.startswith("data:image/") for source in page.sources)
        assert all(link.startswith(("/-/models", "https://", "#")) for link in page.links)
        for heading in cards.SECTIONS:
            assert heading in page.words


def test_known_failures_are_shown(server: Any) -> None:
    page = Page(get(server, "/-/models/face_attributes", BROWSER)[2])
    assert any(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert "Grace Hopper" in page.words
    assert "\n| --- |" not in page.words


@pytest.mark.parametrize("path", ["/-/models", "/-/models/yunet", "/-/models/nothing"])
@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_pages_can_do_nothing_in_a_browser(server: Any, path: str, accept: str) -> None:
    headers = get(server, path, accept)[1]
    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["vary"] == "Accept"


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e%2fsettings", "yunet.onnx"])
def test_what_is_no_network_is_not_there(server: Any, name: str) -> None:
    status, _, body = get(server, f"/-/models/{name}")
    assert status == 404
    assert "message" in json.loads(body)


def test_nothing_tells_of_the_machine(server: Any) -> None:
    for path in ("/-/models", "/-/models/sface"):
        for accept in ("*/*", BROWSER):
            body = get(server, path, accept)[2]
            assert str(models.WEIGHTS) not in body
            assert str(server.deployment.home) not in body
