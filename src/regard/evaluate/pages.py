"""The cards of the networks, served: `/-/models` for programs and for people, `/-/models/NAME` for one network.

Whoever asks a network for an answer may know how often it is wrong. The pages hold no personal data and need
no key; they are made of files that came with Regard, and of whether the networks' own files are whole.
"""

import base64
import mimetypes
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from anyio.to_thread import run_sync
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from regard.evaluate import cards, document
from regard.evaluate.cards import Card
from regard.evaluate.document import Report, own_networks
from regard.evaluate.report import TEMPLATES
from regard.settings import Settings
from regard.vision import models
from regard.vision.models import Network

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}
_markdown = MarkdownIt("commonmark", {"html": False}).enable("table")


def routes(settings: Settings) -> list[Route]:
    """The pages, for the networks in the settings' cache."""

    async def index(http: Request) -> Response:
        entries = await run_sync(_entries, settings)
        if _wants_html(http):
            page = await run_sync(_index, entries, own_networks(settings))
            return HTMLResponse(page, headers=HEADERS)
        return JSONResponse({"Models": entries, "Remarks": own_networks(settings)}, headers=HEADERS)

    async def one(http: Request) -> Response:
        name = http.path_params["name"]
        network = {network.name: network for network in models.networks()}.get(name)
        if network is None:
            return JSONResponse({"message": f"There is no network {name}."}, 404, headers=HEADERS)
        if _wants_html(http):
            return HTMLResponse(await run_sync(_page, network, own_networks(settings)), headers=HEADERS)
        return JSONResponse(await run_sync(lambda: _entry(network, _states(settings.cache))), headers=HEADERS)

    return [Route("/-/models", index), Route("/-/models/{name}", one)]


def _wants_html(http: Request) -> bool:
    """Browsers name HTML; programs take whatever comes, and get JSON."""
    return "text/html" in http.headers.get("accept", "")


@cache
def _published() -> Report:
    return document.published()


@cache
def _card(network: Network) -> Card:
    return cards.read(network)


def _entries(settings: Settings) -> list[dict[str, Any]]:
    states = _states(settings.cache)
    return [_entry(network, states) for network in models.networks()]


def _entry(network: Network, states: dict[str, str]) -> dict[str, Any]:
    """All that is known of a network, as JSON."""
    card = _card(network)
    return {
        "Name": network.name,
        "Task": network.task,
        "Licence": network.licence,
        "Source": network.source,
        "Sha256": network.sha256,
        "State": states[network.name],
        "NotFor": card.sections["Not for"],
        "Card": {
            "Title": card.title,
            "Summary": card.summary,
            "Sections": {name: cards.unfilled(text) for name, text in card.sections.items()},
        },
        "Figures": [
            {"Id": key}
            | {name.capitalize(): value for name, value in asdict(figure).items() if value not in (None, "")}
            for measured in _published().judging(network.name)
            for key, figure in measured.figures()
        ],
    }


def _states(cache: Path) -> dict[str, str]:
    """Whether each network's file is whole; a SHA-256 is computed again when a file has changed."""
    return _states_of(cache, tuple(_stamp(network.path(cache)) for network in models.networks()))


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=1)
def _states_of(cache: Path, _stamps: tuple[tuple[int, int] | None, ...]) -> dict[str, str]:
    return {check.network.name: check.state for check in models.verify(cache)}


def _index(entries: list[dict[str, Any]], remarks: tuple[str, ...]) -> str:
    headlines = {
        network.name: [(found.title, found.result.figures[0]) for found in _published().judging(network.name)]
        for network in models.networks()
    }
    summaries = {network.name: _html(_card(network).summary, network) for network in models.networks()}
    return TEMPLATES.get_template("models.html").render(
        entries=entries, headlines=headlines, summaries=summaries, remarks=remarks
    )


def _page(network: Network, remarks: tuple[str, ...]) -> str:
    """A card as HTML; what was measured comes from the published report itself, with its intervals."""
    card = _card(network)
    sections = {name: _html(cards.unfilled(text), network) for name, text in card.sections.items()}
    return TEMPLATES.get_template("card.html").render(
        network=network,
        card=card,
        summary=_html(card.summary, network),
        sections=sections,
        found=_published().judging(network.name),
        nothing=cards.NOTHING,
        remarks=[remark for remark in remarks if network.name in remark],
    )


def _html(text: str, network: Network) -> Markup:
    """Markdown of a card as HTML that needs nothing from elsewhere: its pictures are inside."""
    tokens = _markdown.parse(text)
    for token in tokens:
        if token.children:
            token.children = list(_self_contained(token.children, cards.path(network).parent))
    return Markup(_markdown.renderer.render(tokens, _markdown.options, {}))  # noqa: S704 — HTML in cards is escaped


def _self_contained(tokens: list[Token], folder: Path) -> Iterator[Token]:
    """Pictures beside the card become part of the page; links to files of the repository become plain text."""
    inside = False
    for token in tokens:
        if token.type == "image":
            file = folder / str(token.attrs["src"])
            kind = mimetypes.guess_type(file.name)[0]
            token.attrs["src"] = f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
        if token.type == "link_open":
            inside = not str(token.attrs["href"]).startswith(("https://", "#"))
        if not (inside and token.type in ("link_open", "link_close")):
            yield token
