"""Changes to a signed request: an exact equivalent passes, and nothing else does.

A case is a request as JSON with what must come of it. The first is signed by botocore; what is changed afterwards is
held against that, and what is signed wrongly, with another region for example, is signed by botocore again.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.fuzz.engine import Fault

from regard.wire.errors import ServiceError
from regard.wire.protocol import Request
from regard.wire.sigv4 import SKEW, verify

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
NOW = datetime(2024, 6, 10, 6, 13, 20, tzinfo=UTC)
STAMP = "%Y%m%dT%H%M%SZ"
HOST = "regard.test:8742"
PASSES = "passes"
WRONG, INCOMPLETE = "InvalidSignatureException", "IncompleteSignatureException"
UNKNOWN, MISSING = "UnrecognizedClientException", "MissingAuthenticationTokenException"
ANY = (WRONG, INCOMPLETE, UNKNOWN, MISSING)

Case = dict[str, Any]


def signed(
    random: Random,
    *,
    key: str = KEY,
    secret: str = SECRET,
    token: str | None = None,
    region: str = "us-east-1",
    service: str = "rekognition",
    at: datetime = NOW,
) -> Case:
    """A request that botocore has signed at a moment, by the steps of its own that no clock is in."""
    body = random.choice((b"", b'{"CollectionId":"staff"}', bytes(range(256))))
    query = random.choice(("", "", "a=1", "b=2&a=1", "flag", "a=2&a=1", "a=%20%2F&B=~"))
    note = random.choice(("", "one", "two  words", " à côté "))
    return _signed(body, query, note, key, secret, token, region, service, at)


@cache
def _signed(
    body: bytes,
    query: str,
    note: str,
    key: str,
    secret: str,
    token: str | None,
    region: str,
    service: str,
    at: datetime,
) -> Case:
    sent = AWSRequest("POST", f"http://{HOST}/" + (f"?{query}" if query else ""), data=body)
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "RekognitionService.DescribeCollection"),
        ("X-Note", note),
    ]
    for name, value in headers:
        sent.headers.add_header(name, value)
    signer = SigV4Auth(Credentials(key, secret, token), service, region)
    sent.context["timestamp"] = f"{at:{STAMP}}"
    signer._modify_request_before_signing(sent)
    signature = signer.signature(signer.string_to_sign(sent, signer.canonical_request(sent)), sent)
    signer._inject_signature_to_request(sent, signature)
    found = [[name.lower(), value.encode().decode("latin-1")] for name, value in sent.headers.items()]
    return {
        "method": "POST",
        "path": "/",
        "query": query,
        "headers": [["host", HOST], *found],
        "body": body.decode("latin-1"),
    }


def header(case: Case, name: str) -> str:
    return str(next(value for key, value in case["headers"] if key == name))


def put(case: Case, name: str, value: str) -> Case:
    return case | {"headers": [[key, value if key == name else old] for key, old in case["headers"]]}


def byte(text: str, random: Random, allowed: Sequence[str] = ()) -> str:
    """One character that is not a space is another one; no space, comma or slash."""
    places = [number for number, character in enumerate(text) if not character.isspace() and character not in ",/=;"]
    place = random.choice(places)
    letters = [chr(code) for code in range(33, 127) if chr(code) not in ",/=;&" and chr(code) != text[place]]
    return text[:place] + random.choice(allowed or letters) + text[place + 1 :]


# What is an exact equivalent.


def _same(case: Case, random: Random) -> Case:
    return case


def _reordered(case: Case, random: Random) -> Case:
    return case | {"headers": random.sample(case["headers"], len(case["headers"]))}


def _more_headers(case: Case, random: Random) -> Case:
    more = [[f"x-{random.randrange(99)}", "unsigned"], ["user-agent", "unsigned"], ["x-amzn-trace-id", "Root=1"]]
    return case | {"headers": case["headers"] + random.sample(more, random.randint(1, 3))}


def _spaced(case: Case, random: Random) -> Case:
    name = random.choice(("x-note", "content-type", "x-amz-target", "host"))
    value = header(case, name).replace("  ", " " * random.randint(1, 5))
    return put(case, name, " " * random.randrange(3) + value + "\t" * random.randrange(3))


def _query_order(case: Case, random: Random) -> Case:
    return case | {"query": "&".join(reversed(case["query"].split("&")))}


def _authorization_spaces(case: Case, random: Random) -> Case:
    value = header(case, "authorization")
    return put(case, "authorization", value.replace(", ", "," + " " * random.randrange(4)) + " " * random.randrange(3))


EQUIVALENT = (_same, _reordered, _more_headers, _spaced, _query_order, _authorization_spaces)


# What is not.


def _in_header(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    name = random.choice(("content-type", "x-amz-target", "host"))
    return put(case, name, byte(header(case, name), random)), (WRONG,)


def _in_note(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    return put(case, "x-note", header(case, "x-note").strip() + random.choice("abc")), (WRONG,)


def _in_date(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    value = byte(header(case, "x-amz-date"), random, "0123456789" if random.random() < 0.7 else ())
    if value == header(case, "x-amz-date"):
        return case, (PASSES,)
    return put(case, "x-amz-date", value), (WRONG, INCOMPLETE)


def _in_body(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    body = case["body"] + chr(random.randrange(256)) if random.random() < 0.5 else case["body"][1:] + "!!"
    return case | {"body": body}, (WRONG,)


def _in_path(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    return case | {"path": random.choice(("/x", "//", "/.", "/%2F", "", "/ü"))}, (WRONG,)


def _in_query(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    return case | {"query": case["query"] + random.choice(("&z=1", "x", "&b=", "&%00"))}, (WRONG,)


def _in_method(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    return case | {"method": random.choice(("GET", "PUT", "post", "POST "))}, (WRONG,)


def _in_signature(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    front, _, signature = header(case, "authorization").rpartition("Signature=")
    change = random.choice((byte, lambda s, _: s.upper(), lambda s, _: s[:-1], lambda s, _: s + "0", lambda _s, _: "é"))
    changed = change(signature, random)
    return put(case, "authorization", f"{front}Signature={changed}"), (PASSES,) if changed == signature else (WRONG,)


def _in_scope(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    value = header(case, "authorization")
    old = random.choice(("20240610", "us-east-1", "/rekognition/", "aws4_request"))
    changed = byte(old.strip("/"), random)
    return put(case, "authorization", value.replace(old, old.replace(old.strip("/"), changed), 1)), (WRONG,)


def _in_key(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    return put(case, "authorization", header(case, "authorization").replace(KEY, byte(KEY, random), 1)), (UNKNOWN,)


def _in_signed_names(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    names = ["content-type", "host", "x-amz-date", "x-amz-target", "x-note"]
    changed = random.choice(
        (names[:-1], [n for n in names if n != "host"], [n for n in names if n != "x-amz-target"], [*names, "absent"])
    )
    value = header(case, "authorization").replace(";".join(names), ";".join(changed))
    return put(case, "authorization", value), (WRONG,)


def _in_algorithm(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    algorithm = random.choice(
        ("AWS4-HMAC-SHA512", "AWS4-ECDSA-P256-SHA256", "AWS3-HTTPS", "Bearer", "aws4-hmac-sha256")
    )
    value = header(case, "authorization").replace("AWS4-HMAC-SHA256", algorithm)
    return put(case, "authorization", value), (INCOMPLETE,) if algorithm.startswith("AWS4-") else (MISSING,)


def _repeated(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    name = random.choice(("host", "x-amz-target", "content-type", "x-note"))
    return case | {"headers": [*case["headers"], [name, header(case, name)]]}, (WRONG,)


def _twice_dated(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    return case | {"headers": [*case["headers"], ["x-amz-date", header(case, "x-amz-date")]]}, (INCOMPLETE,)


def _without(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    name = random.choice(("host", "x-amz-target", "x-amz-date", "authorization", "content-type"))
    codes = {"authorization": (MISSING,), "x-amz-date": (INCOMPLETE,)}.get(name, (WRONG,))
    return case | {"headers": [pair for pair in case["headers"] if pair[0] != name]}, codes


def _presigned(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    query = (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20240610%2Fus-east-1%2Frekognition%2Faws4_request"
    )
    query += f"&X-Amz-Date=20240610T061320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature={'0' * 64}"
    if random.random() < 0.5:
        case = case | {"headers": [pair for pair in case["headers"] if pair[0] != "authorization"]}
    return case | {"query": query}, (INCOMPLETE,)


def _streaming(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    kind = random.choice(
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD")
    )
    return case | {"headers": [*case["headers"], ["x-amz-content-sha256", kind]]}, (WRONG,)


def _nonsense(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    """Authorization and date are anything; only what is refused and how it is worded may differ."""
    value = header(case, "authorization")
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(value) + 1)
        part = random.choice(
            ("", ",", "=", "/", ";", ",,", "Signature=", "Credential=", "\xff", " ", "/" * 50, "a" * 500)
        )
        value = value[:place] + part + value[place + random.randrange(20) :]
    if "".join(value.split()) == "".join(header(case, "authorization").split()):
        return case, (PASSES,)
    return put(case, "authorization", value), (*ANY, PASSES)


_DATES = (
    "Mon",
    ",",
    "10",
    "Jun",
    "2024",
    "06:13:20",
    "GMT",
    "+9999",
    "-0000",
    "99999999999999999999",
    ":",
    "(",
    "\xb2",
    " ",
)


def _odd_date(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    value = random.choice((" ", "")).join(random.choices(_DATES, k=random.randint(1, 9)))
    headers = [pair for pair in case["headers"] if pair[0] != "x-amz-date"]
    return case | {"headers": [*headers, ["date", value]]}, ANY


def _signed_wrongly(case: Case, random: Random) -> tuple[Case, tuple[str, ...]]:
    """Right in itself, but of another key, region, service or time, or with a session's token."""
    skew = SKEW.total_seconds()
    seconds = random.choice((-skew, skew, -skew + 1, skew - 1, -skew - 1, skew + 1, 86400, -86400 * 366, 0))
    changes, codes = random.choice(
        [
            (partial(signed, key="AKIDOTHER"), (UNKNOWN,)),
            (partial(signed, key="AKIDOTHER", secret="-" * 40), (UNKNOWN,)),
            (partial(signed, secret=SECRET[::-1]), (WRONG,)),
            (partial(signed, secret=""), (WRONG,)),
            (partial(signed, region="eu-west-1"), (WRONG,)),
            (partial(signed, service=random.choice(("s3", "rekognitio", "Rekognition"))), (WRONG,)),
            (partial(signed, token="session"), (UNKNOWN,)),
            (partial(signed, at=NOW + timedelta(seconds=seconds)), (PASSES,) if abs(seconds) <= skew else (WRONG,)),
        ]
    )
    return changes(random), codes


DIFFERENT = (
    *(_in_header, _in_note, _in_date, _in_body, _in_path, _in_query, _in_method, _in_signature, _in_scope, _in_key),
    *(_in_signed_names, _in_algorithm, _repeated, _twice_dated, _without, _presigned, _streaming),
    *(_nonsense, _nonsense, _odd_date, _signed_wrongly),
)


class Signatures:
    """`wire.sigv4.verify`."""

    def generate(self, random: Random) -> bytes:
        case = signed(random)
        if random.random() < 0.2:
            case, expected = random.choice(EQUIVALENT)(case, random), (PASSES,)
        else:
            case, expected = random.choice(DIFFERENT)(case, random)
        return json.dumps(case | {"expected": expected}).encode()

    def check(self, case: bytes) -> str:
        said = json.loads(case)
        headers = [(name, value) for name, value in said["headers"]]
        request = Request(said["method"], said["path"], said["query"], headers, said["body"].encode("latin-1"))
        try:
            key = verify(request, secret_of={KEY: SECRET}.get, region="us-east-1", now=NOW)
        except ServiceError as error:
            outcome = error.code
        else:
            outcome = PASSES if key == KEY else "another key"
        if outcome not in said["expected"]:
            raise Fault(f"{outcome} rather than {said['expected']}")
        return outcome


@contextmanager
def opened(folder: Path) -> Iterator[Signatures]:
    yield Signatures()
