"""Who signed a request: AWS Signature Version 4 in the Authorization header, verified.

The signature proves that the sender holds the secret key and that the signed headers and the body arrived
unchanged. Written after AWS's "Create a signed AWS API request" (IAM user guide). Only signatures by
long-term keys in the header are accepted; session tokens and presigned addresses are refused by name.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, quote

from regard.wire.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from regard.wire.protocol import Request
from regard.wire.service import SIGNING_NAME

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
SKEW = timedelta(minutes=5)

_STAMP = "%Y%m%dT%H%M%SZ"
_BASIC = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
# Signs for keys that do not exist, so that an unknown key costs the time of a known one.
_NO_SECRET = "-" * 40


@dataclass(frozen=True, slots=True)
class _Credential:
    key_id: str
    date: str
    region: str
    service: str
    terminator: str

    @property
    def scope(self) -> str:
        return "/".join((self.date, self.region, self.service, self.terminator))


def verify(request: Request, *, secret_of: Callable[[str], str | None], region: str, now: datetime) -> str:
    """The access key id that signed the request.

    `secret_of` gives the secret key of an access key id, None if there is no such key. `now` is an aware
    datetime; a signature is good from 5 minutes before to 5 minutes after its date. `region` is the one
    that this server answers for.

    MissingAuthenticationTokenException if unsigned, IncompleteSignatureException if the signature cannot be
    read, UnrecognizedClientException if the key is unknown, else InvalidSignatureException.
    """
    fields = _fields(request)
    signed_at, date_header = _date(request)
    _check_age(signed_at, now)
    stamp = f"{signed_at:{_STAMP}}"
    signed = sorted({name.strip().lower() for name in fields["SignedHeaders"].split(";")})
    _check_signed(request, signed, date_header)
    credential = _credential(fields["Credential"])
    _check_scope(credential, stamp, region)
    payload_hash = _payload_hash(request)

    secret = secret_of(credential.key_id)
    canonical = _canonical_request(request, signed, payload_hash)
    expected = _signature(secret or _NO_SECRET, credential, stamp, canonical)
    matches = hmac.compare_digest(expected.encode(), fields["Signature"].encode())
    if not secret:
        raise UnrecognizedClientException
    if not matches:
        raise InvalidSignatureException
    return credential.key_id


def _fields(request: Request) -> dict[str, str]:
    """Credential, SignedHeaders and Signature of the Authorization header."""
    if any(name.lower().startswith("x-amz-") for name, _ in parse_qsl(request.query, keep_blank_values=True)):
        raise IncompleteSignatureException(
            "Presigned requests are not accepted. Sign the request in the Authorization header."
        )
    algorithm, _, rest = (request.header("authorization") or "").strip().partition(" ")
    if not algorithm.startswith("AWS4-"):
        raise MissingAuthenticationTokenException
    if algorithm != ALGORITHM:
        raise IncompleteSignatureException(f"Unsupported AWS 'algorithm': '{algorithm}' (only {ALGORITHM} for now). ")
    if request.header("x-amz-security-token") is not None:
        raise UnrecognizedClientException(
            "This server issues no session tokens. Sign with a long-term access key and send no X-Amz-Security-Token."
        )
    pairs = (part.partition("=") for part in rest.split(","))
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    missing = [name for name in ("Credential", "Signature", "SignedHeaders") if not fields.get(name)]
    if missing:
        raise IncompleteSignatureException(
            " ".join(f"Authorization header requires '{name}' parameter." for name in missing)
        )
    return fields


def _date(request: Request) -> tuple[datetime, str]:
    """When the request was signed, in UTC, and the name of the header that says so."""
    for name in ("x-amz-date", "date"):
        value = request.header(name)
        if value is not None:
            return _parse_date(value.strip()), name
    raise IncompleteSignatureException(
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    )


def _parse_date(value: str) -> datetime:
    try:
        if _BASIC.fullmatch(value):
            return datetime.fromisoformat(value)  # a tenth of the time of `strptime`
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise IncompleteSignatureException(
            f"Date must be in ISO-8601 'basic format'. Got '{value}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None


def _check_age(signed_at: datetime, now: datetime) -> None:
    here = now.astimezone(UTC)
    earliest, latest = here - SKEW, here + SKEW
    if signed_at < earliest:
        raise InvalidSignatureException(
            f"Signature expired: {signed_at:{_STAMP}} is now earlier than {earliest:{_STAMP}} "
            f"({here:{_STAMP}} - 5 min.)"
        )
    if signed_at > latest:
        raise InvalidSignatureException(
            f"Signature not yet current: {signed_at:{_STAMP}} is still later than {latest:{_STAMP}} "
            f"({here:{_STAMP}} + 5 min.)"
        )


def _check_signed(request: Request, signed: list[str], date_header: str) -> None:
    """The host, the date and the operation must be signed, and what is signed must have arrived."""
    wanted = {"host": "'Host' or ':authority'", date_header: f"'{date_header.title()}'"}
    if request.header("x-amz-target") is not None:
        wanted["x-amz-target"] = "'X-Amz-Target'"
    for name, shown in wanted.items():
        if name not in signed:
            raise InvalidSignatureException(f"{shown} must be a 'SignedHeader' in the AWS Authorization.")
    if any(request.header(name) is None for name in signed):
        raise InvalidSignatureException


def _credential(value: str) -> _Credential:
    parts = value.split("/")
    if len(parts) != 5:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{value}'"
        )
    return _Credential(*parts)


def _check_scope(credential: _Credential, stamp: str, region: str) -> None:
    errors = ""
    if credential.region != region:
        errors += f"Credential should be scoped to a valid region, not '{credential.region}'. "
    if credential.service != SIGNING_NAME:
        errors += f"Credential should be scoped to correct service: '{SIGNING_NAME}'. "
    if credential.terminator != TERMINATOR:
        errors += (
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{credential.terminator}'. "
        )
    if credential.date != stamp[:8]:
        errors += (
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{credential.date}' != '{stamp[:8]}', from '{stamp}'."
        )
    if errors:
        raise InvalidSignatureException(errors)


def _payload_hash(request: Request) -> str:
    actual = hashlib.sha256(request.body).hexdigest()
    if request.header("x-amz-content-sha256") not in (None, actual):
        raise InvalidSignatureException("The X-Amz-Content-Sha256 header is not the SHA-256 of the body.")
    return actual


def _canonical_request(request: Request, signed: list[str], payload_hash: str) -> bytes:
    lines = [
        request.method,
        quote(request.path, safe="/-_.~"),
        "&".join("=".join(pair) for pair in _canonical_query(request.query)),
        *(f"{name}:{_canonical_value(request, name)}" for name in signed),
        "",
        ";".join(signed),
        payload_hash,
    ]
    return "\n".join(lines).encode("latin-1")


def _canonical_query(query: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return sorted((name, value) for name, _, value in pairs)


def _canonical_value(request: Request, name: str) -> str:
    # Split as bytes: as text, Latin-1 would have its own spaces among the bytes of a UTF-8 value.
    values = (value.encode("latin-1") for value in request.values(name))
    return b",".join(b" ".join(value.split()) for value in values).decode("latin-1")


def _signature(secret: str, credential: _Credential, stamp: str, canonical: bytes) -> str:
    key = f"AWS4{secret}".encode()
    for part in (credential.date, credential.region, credential.service, credential.terminator):
        key = hmac.digest(key, part.encode(), "sha256")
    text = "\n".join((ALGORITHM, stamp, credential.scope, hashlib.sha256(canonical).hexdigest()))
    return hmac.digest(key, text.encode(), "sha256").hex()
