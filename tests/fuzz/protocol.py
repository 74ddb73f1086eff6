"""Bytes over a socket to one real server: HTTP that is right, nearly right, and none.

A case is what is sent, in pieces where `PAUSE` stands. Whatever is answered is HTTP and no 500; a good request is
answered all the while, the server's memory stays, and nothing is written into its log that it did not foresee.
"""

import json
import os
import re
import socket
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import psutil
from tests.contract.conftest import Deployment, Server, regard
from tests.fuzz import mutate
from tests.fuzz.engine import Fault

PAUSE = b"<pause>"
PATIENCE_S = 0.05  # for an answer that may never come
GOOD_EVERY = 100
# Of the server above what it had after the first good answer, whatever was sent.
MEMORY_BYTES = 200 * 1024**2
_TRACEBACK = re.compile(r"^Traceback.*?(?=^\d{4}-|\Z)", re.DOTALL | re.MULTILINE)  # up to the next line of the log

_TARGETS = (
    b"RekognitionService.ListCollections",
    b"RekognitionService.",
    b".",
    b"",
    b"X.ListCollections",
    b"\xff\xfe",
    b"a" * 70_000,
)
_TYPES = (b"application/x-amz-json-1.1", b"application/json", b"application/x-amz-json-1.1; charset=\xff", b"", b";;;")
_PATHS = (
    b"/",
    b"/",
    b"/-/healthz",
    b"/-/models",
    b"//",
    b"/%00",
    b"/%ff%fe",
    b"/../x",
    b"*",
    b"x",
    b"http://a/",
    b"/?x-amz-a=1",
    b"/#f",
    b"/" + b"a" * 70_000,
    b"/-/audit/x",
    b"/-/reviews/%2e%2e/x",
)
_METHODS = (b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"PRI", b"post", b"\x00", b"M" * 5000)
_LENGTHS = (
    b"-1",
    b"+2",
    b"0x2",
    b"2, 2",
    b"99999999999999999999999",
    b"",
    b"1e3",
    b"\xb2",
    b"18446744073709551615",
    b"17000000",
)
_AUTHORIZATIONS = (
    b"AWS4-HMAC-SHA256 Credential=AKID/20240101/us-east-1/rekognition/aws4_request, SignedHeaders=host, Signature=00",
    b"AWS4-HMAC-SHA256 Credential=\xe9\xff/1/2/3/4, SignedHeaders=;;;, Signature=\xff",
    b"AWS4-HMAC-SHA256 " + b"Credential=" * 5000,
    b"AWS4-HMAC-SHA256 Credential=A/B/C/D/E, Signature=0, SignedHeaders=" + b";".join(b"%d" % n for n in range(9000)),
    b"Bearer x",
    b"Basic \xff",
)


def _odd(random: Random, choices: Sequence[bytes]) -> bytes:
    """The first, which is right, or now and then another."""
    return choices[0] if random.random() < 0.85 else random.choice(choices)


def _request(random: Random) -> bytes:
    body = random.choice((b"", b"{}", b"x" * 5000))
    headers = [b"Host: regard", b"Content-Type: " + _odd(random, _TYPES), b"X-Amz-Target: " + _odd(random, _TARGETS)]
    if random.random() < 0.7:
        headers.append(b"Authorization: " + random.choice(_AUTHORIZATIONS))
        headers.append(
            b"X-Amz-Date: " + random.choice((b"20240101T000000Z", b"Mon, 10 Jun 2024 06:13:20 +9999", b"\xff", b""))
        )
    headers.extend(_odd_header(random) for _ in range(random.choice((0, 0, 0, 1, 2))))
    match random.randrange(12):
        case 0:
            headers.append(b"Transfer-Encoding: chunked")
            sizes = (
                b"%x" % len(body),
                b"%x;ext=%s" % (len(body), b"e" * random.choice((1, 70_000))),
                b"-1",
                b"ffffffffffffffffff",
                b"g",
                b"",
            )
            body = (
                random.choice(sizes)
                + b"\r\n"
                + body
                + b"\r\n0\r\n"
                + random.choice((b"", b"T: " + b"t" * 70_000 + b"\r\n", b"T: 1\r\n" * 9000))
                + b"\r\n"
            )
        case 1:
            headers.append(b"Content-Length: " + random.choice(_LENGTHS))
        case 2:
            headers.append(b"Content-Length: %d" % (len(body) + random.choice((-1, 1, 5, 10**9))))
        case _:
            headers.append(b"Content-Length: %d" % len(body))
    random.shuffle(headers)
    if random.random() < 0.05:
        headers = headers[1:]
    line = b" ".join(
        (
            _odd(random, _METHODS),
            _odd(random, _PATHS),
            _odd(random, (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"")),
        )
    )
    return line + b"\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def _odd_header(random: Random) -> bytes:
    return random.choice(
        (
            b"Host: [::1",
            b"Host: a/b?c#d@e",
            b"Host: \xff",
            b"Expect: 100-continue",
            b"Upgrade: websocket\r\nConnection: Upgrade",
            b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
            b"Connection: " + random.choice((b"close", b"keep-alive", b"\xff")),
            b"X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            b"X-Forwarded-For: " + b"1," * 5000,
            b"X-" + b"n" * random.choice((10, 70_000)) + b": v",
            b"X-Folded: a\r\n b",
            b"No colon",
            b": empty",
            b"X\0: nul",
            b"X: \0",
            b"Cookie: " + b"\xe9" * 100,
            b"\r\n".join(b"X-%d: v" % number for number in range(random.choice((100, 9000)))),
        )
    )


class Protocol:
    """A server, from outside."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._log = server.deployment.home / "serve.log"
        self._checked = 0
        self._process = psutil.Process(server.process.pid)
        self.good()
        self._resident = self._process.memory_info().rss

    def generate(self, random: Random) -> bytes:
        case = _request(random)
        if random.random() < 0.15:
            case += _request(random)
        if random.random() < 0.15:
            case = mutate.anyhow(case, random)
        if random.random() < 0.1:
            place = random.randrange(len(case) + 1)
            case = case[:place] + PAUSE + case[place:]
        return case

    def check(self, case: bytes) -> str:
        received = self._sent(case)
        outcome = received.split(b"\r\n", 1)[0].split(b" ")[1:2]
        if received and (not received.startswith(b"HTTP/1.1 ") or outcome[0] in (b"500", b"501")):
            raise Fault(f"answered {received[:300]!r}")
        self._checked += 1
        if self._checked % GOOD_EVERY == 0:
            self.good()
        return outcome[0].decode() if outcome else "nothing"

    def _sent(self, case: bytes) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", self._server.port), 10) as connection,
            suppress(ConnectionError),
        ):
            for number, piece in enumerate(case.split(PAUSE)):
                if number:
                    connection.settimeout(0.02)
                    with suppress(TimeoutError):
                        connection.recv(1, socket.MSG_PEEK)
                connection.settimeout(10)
                connection.sendall(piece)
            connection.settimeout(PATIENCE_S)
            with suppress(TimeoutError):
                return connection.recv(65536)
        return b""

    def good(self) -> None:
        """A good request is answered, the memory is as it was, and the log tells of nothing unforeseen."""
        assert self._server.post().status == 200
        with urllib.request.urlopen(f"{self._server.endpoint}/-/healthz", timeout=30) as response:
            assert response.status == 200
        log = self._log.read_text(errors="replace")
        if traceback := _TRACEBACK.search(log):
            raise Fault(traceback[0][-2000:])
        grown = self._process.memory_info().rss - getattr(self, "_resident", self._process.memory_info().rss)
        if grown > MEMORY_BYTES:
            raise Fault(f"the server has grown by {grown >> 20} MB")


@contextmanager
def opened(folder: Path) -> Iterator[Protocol]:
    variables = os.environ | {"REGARD_HOME": str(folder), "REGARD_PRELOAD": "", "REGARD_WORKERS": "0"}
    key = json.loads(regard(variables, "init", "--purpose", "research", "--json"))
    server = Deployment(folder, variables, key["AccessKeyId"], key["SecretAccessKey"]).start()
    try:
        yield Protocol(server)
    finally:
        assert server.stop() == 0
