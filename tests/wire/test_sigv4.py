import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from regard.wire.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    UnrecognizedClientException,
)
from regard.wire.protocol import Request
from regard.wire.sigv4 import verify

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
BODY = b'{"CollectionId":"staff"}'


def sign(
    *,
    headers=(),
    body=BODY,
    key=KEY,
    secret=SECRET,
    region="us-east-1",
    service="rekognition",
    token=None,
    method="POST",
    url="https://regard.test:8742/",
):
    """A request signed by botocore, as it would come off the wire."""
    sent = AWSRequest(method, url, data=body)
    for name, value in [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", "RekognitionService.DescribeCollection"),
        *headers,
    ]:
        sent.headers.add_header(name, value)
    SigV4Auth(Credentials(key, secret, token), service, region).add_auth(sent)
    prepared = [(name.lower(), value.encode().decode("latin-1")) for name, value in sent.headers.items()]
    path, _, query = url.removeprefix("https://regard.test:8742").partition("?")
    return Request(method, path, query, [("host", "regard.test:8742"), *prepared], body)


def signed_at(request):
    stamp = next(value for name, value in request.headers if name == "x-amz-date")
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def check(request, now=None, region="us-east-1"):
    return verify(
        request, secret_of={KEY: SECRET}.get, region=region, now=now if now is not None else datetime.now(UTC)
    )


def replaced(request, **headers):
    """The request with header values replaced, dropped (None) or added."""
    changes = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = [(name, value) for name, value in request.headers if name not in changes]
    added = [(name, value) for name, value in changes.items() if value is not None]
    return Request(request.method, request.path, request.query, kept + added, request.body)


def authorization(request, old, new):
    value = request.header("authorization")
    assert old in value
    return replaced(request, authorization=value.replace(old, new))


def test_what_botocore_signs_is_accepted():
    assert check(sign()) == KEY


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1"])
def test_the_region_of_the_server_counts(region):
    assert check(sign(region=region), region=region) == KEY


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Note", "  two   spaces  ")],
        [("X-Note", "tab\tand  space")],
        [("X-Note", "")],
        [("X-Note", "a"), ("X-Note", " b  c ")],
        [("X-Note", "b"), ("X-Other", "z"), ("X-Note", "a")],
        [("X-Note", "à côté, 顔")],
        [("X-Note", 'quo"ted;semi:colon=equals')],
        [("X-Amz-Meta", "1"), ("X-Amz-A", "2"), ("a", "3")],
        [("X-Amz-Content-SHA256", hashlib.sha256(BODY).hexdigest())],
        [("User-Agent", "unsigned"), ("X-Amzn-Trace-Id", "unsigned")],
    ],
    ids=str,
)
def test_odd_headers_are_canonical_as_botocore_has_them(headers):
    assert check(sign(headers=headers)) == KEY


VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126) | st.sampled_from(" \tàé顔"), max_size=20)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["X-One", "x-two", "Three"]), VALUES), max_size=4),
    st.binary(max_size=50),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40),
)
def test_any_headers_body_and_secret_verify_as_botocore_signs(headers, body, secret):
    request = sign(headers=headers, body=body, secret=secret)
    assert verify(request, secret_of={KEY: secret}.get, region="us-east-1", now=datetime.now(UTC)) == KEY


@pytest.mark.parametrize("query", ["", "b=2&a=1", "a=2&a=1", "flag", "a=%20%2F&B=~"])
def test_a_query_is_canonical_as_botocore_has_it(query):
    assert check(sign(url=f"https://regard.test:8742/?{query}")) == KEY


@pytest.mark.parametrize("path", ["/", "/prefix/", "/a%20b"])
def test_a_path_is_canonical_as_botocore_has_it(path):
    assert check(sign(url=f"https://regard.test:8742{path}")) == KEY


def with_date_header(date, signed="content-type;date;host;x-amz-target"):
    """A request dated by `Date` alone, signed by hand with botocore's own steps."""
    signer = SigV4Auth(Credentials(KEY, SECRET), "rekognition", "us-east-1")
    sent = AWSRequest("POST", "https://regard.test:8742/", data=BODY)
    sent.headers.add_header("Content-Type", "application/x-amz-json-1.1")
    sent.headers.add_header("X-Amz-Target", "RekognitionService.DescribeCollection")
    sent.headers.add_header("Date", date)
    sent.context["timestamp"] = "20240610T061320Z"
    canonical = signer.canonical_request(sent)
    signature = signer.signature(signer.string_to_sign(sent, canonical), sent)
    header = (
        f"AWS4-HMAC-SHA256 Credential={KEY}/20240610/us-east-1/rekognition/aws4_request, "
        f"SignedHeaders={signed}, Signature={signature}"
    )
    headers = [("host", "regard.test:8742"), *((name.lower(), value) for name, value in sent.headers.items())]
    return Request("POST", "/", "", [*headers, ("authorization", header)], BODY)


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 10 Jun 2024 06:13:20 GMT",
        "Mon, 10 Jun 2024 06:13:20 -0000",
        "Mon, 10 Jun 2024 08:13:20 +0200",
        "20240610T061320Z",
    ],
)
def test_the_date_header_can_stand_for_x_amz_date(date):
    assert check(with_date_header(date), now=datetime(2024, 6, 10, 6, 15, tzinfo=UTC)) == KEY


def test_the_date_header_must_be_signed_if_it_is_the_date():
    request = with_date_header("Mon, 10 Jun 2024 06:13:20 GMT", signed="content-type;host;x-amz-target")
    with pytest.raises(InvalidSignatureException, match="'Date' must be a 'SignedHeader'"):
        check(request, now=datetime(2024, 6, 10, 6, 15, tzinfo=UTC))


TAMPERED = {
    "body": lambda r: Request(r.method, r.path, r.query, r.headers, r.body + b" "),
    "empty body": lambda r: Request(r.method, r.path, r.query, r.headers, b""),
    "method": lambda r: Request("PUT", r.path, r.query, r.headers, r.body),
    "path": lambda r: Request(r.method, "/other", r.query, r.headers, r.body),
    "query": lambda r: Request(r.method, r.path, "a=1", r.headers, r.body),
    "target": lambda r: replaced(r, x_amz_target="RekognitionService.DeleteCollection"),
    "repeated target": lambda r: Request(
        r.method,
        r.path,
        r.query,
        [*r.headers, ("x-amz-target", "RekognitionService.DeleteCollection")],
        r.body,
    ),
    "host": lambda r: replaced(r, host="other.test"),
    "content type": lambda r: replaced(r, content_type="text/plain"),
    "header": lambda r: replaced(r, x_note="b"),
    "header dropped": lambda r: replaced(r, x_note=None),
    "date": lambda r: replaced(r, x_amz_date=f"{signed_at(r) + timedelta(seconds=1):%Y%m%dT%H%M%SZ}"),
    "signed headers": lambda r: authorization(r, ";x-note", ""),
    "signature": lambda r: authorization(r, "Signature=", "Signature=0"),
    "signature not hex": lambda r: authorization(r, "Signature=", "Signature=é"),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
def test_any_change_to_what_is_signed_is_noticed(change):
    request = sign(headers=[("X-Note", "a")])
    assert check(request) == KEY
    with pytest.raises(InvalidSignatureException) as refusal:
        check(change(request), now=signed_at(request))
    assert refusal.value.message == InvalidSignatureException.text


@settings(max_examples=100)
@given(st.data())
def test_any_byte_changed_in_the_body_or_a_signed_header_is_noticed(data):
    request = sign(headers=[("X-Note", "some note")])
    place = data.draw(st.sampled_from(["body", "x-note", "host", "x-amz-target", "content-type"]))
    value = request.body.decode() if place == "body" else request.header(place)
    at = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126).filter(lambda c: c != value[at]))
    changed = value[:at] + other + value[at + 1 :]
    if place == "body":
        forged = Request(request.method, request.path, request.query, request.headers, changed.encode())
    else:
        forged = replaced(request, **{place: changed})
    with pytest.raises(InvalidSignatureException):
        check(forged)


def test_a_signed_header_that_is_gone_is_not_an_empty_one():
    request = sign(headers=[("X-Note", "")])
    assert check(request) == KEY
    with pytest.raises(InvalidSignatureException):
        check(replaced(request, x_note=None))


def test_another_secret_does_not_do():
    with pytest.raises(InvalidSignatureException):
        check(sign(secret="another"))


def test_an_unknown_key_is_not_recognised_whatever_it_signs_with():
    for secret in (SECRET, "another", "-" * 40):
        with pytest.raises(UnrecognizedClientException) as refusal:
            check(sign(key="AKIDOTHER", secret=secret))
        assert refusal.value.message == "The security token included in the request is invalid."


def test_an_empty_secret_is_no_secret():
    with pytest.raises(UnrecognizedClientException):
        verify(sign(secret="-" * 40), secret_of=lambda _: "", region="us-east-1", now=datetime.now(UTC))


@pytest.mark.parametrize("minutes", [-5, 5])
def test_five_minutes_of_skew_are_allowed(minutes):
    request = sign()
    assert check(request, now=signed_at(request) + timedelta(minutes=minutes)) == KEY


def test_an_old_signature_has_expired():
    request = sign()
    then = signed_at(request)
    now = then + timedelta(minutes=5, seconds=1)
    with pytest.raises(InvalidSignatureException) as refusal:
        check(request, now=now)
    assert refusal.value.message == (
        f"Signature expired: {then:%Y%m%dT%H%M%SZ} is now earlier than "
        f"{then + timedelta(seconds=1):%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} - 5 min.)"
    )


def test_a_signature_from_the_future_is_not_yet_current():
    request = sign()
    with pytest.raises(InvalidSignatureException, match="Signature not yet current: "):
        check(request, now=signed_at(request) - timedelta(minutes=5, seconds=1))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("us-east-1", "eu-west-1", "Credential should be scoped to a valid region, not 'eu-west-1'. "),
        ("/rekognition/", "/s3/", "Credential should be scoped to correct service: 'rekognition'. "),
        (
            "aws4_request",
            "aws4",
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws4'. ",
        ),
    ],
)
def test_a_credential_of_another_scope_is_refused_in_awss_words(old, new, text):
    with pytest.raises(InvalidSignatureException) as refusal:
        check(authorization(sign(), old, new))
    assert refusal.value.message == text


def test_a_credential_of_another_day_is_refused():
    request = sign()
    day = f"{signed_at(request):%Y%m%d}"
    with pytest.raises(InvalidSignatureException, match=f"'20200101' != '{day}'"):
        check(authorization(request, f"/{day}/", "/20200101/"))


def test_all_that_is_wrong_with_a_scope_is_said_at_once():
    with pytest.raises(InvalidSignatureException, match=r"region, not 'a'\. .*service: 'rekognition'\. "):
        check(sign(region="a", service="b"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("host", "'Host' or ':authority'"), ("x-amz-date", "'X-Amz-Date'"), ("x-amz-target", "'X-Amz-Target'")],
)
def test_the_host_the_date_and_the_operation_must_be_signed(name, shown):
    request = sign()
    header = request.header("authorization")
    start = header.index("SignedHeaders=") + len("SignedHeaders=")
    names = header[start : header.index(",", start)]
    without = ";".join(one for one in names.split(";") if one != name)
    with pytest.raises(InvalidSignatureException) as refusal:
        check(authorization(request, names, without))
    assert refusal.value.message == f"{shown} must be a 'SignedHeader' in the AWS Authorization."


@pytest.mark.parametrize("declared", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64, ""])
def test_the_declared_hash_must_be_the_bodys(declared):
    with pytest.raises(InvalidSignatureException, match="not the SHA-256 of the body"):
        check(sign(headers=[("X-Amz-Content-SHA256", declared)]))


def test_an_unsigned_request_lacks_a_token():
    for header in (None, "", "Basic dXNlcjpwYXNz", "Bearer token"):
        with pytest.raises(MissingAuthenticationTokenException):
            check(replaced(sign(), authorization=header))


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("AWS4-HMAC-SHA256", "requires 'Credential' parameter. Authorization header requires 'Signature'"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host", "requires 'Signature' parameter."),
        ("AWS4-HMAC-SHA256 Credential=, SignedHeaders=host, Signature=0", "requires 'Credential' parameter."),
        ("AWS4-HMAC-SHA256 ,,=,=;", "requires 'SignedHeaders' parameter."),
        ("AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=b, Signature=c", "Unsupported AWS 'algorithm'"),
        (
            "AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host;x-amz-date;x-amz-target, Signature=0",
            "exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'a/b/c/d'",
        ),
    ],
)
def test_a_signature_that_cannot_be_read_is_incomplete(header, text):
    with pytest.raises(IncompleteSignatureException) as refusal:
        check(replaced(sign(), authorization=header))
    assert text in refusal.value.message


@pytest.mark.parametrize("date", ["", "yesterday", "2024-06-10T06:13:20Z", "Mon, 99 Jun 2024 06:13:20 GMT", "٢٠"])
def test_a_date_that_cannot_be_read_is_incomplete(date):
    with pytest.raises(IncompleteSignatureException, match="Date must be in ISO-8601 'basic format'"):
        check(replaced(sign(), x_amz_date=date))


def test_a_date_is_needed():
    with pytest.raises(IncompleteSignatureException, match="either a 'X-Amz-Date' or a 'Date' header"):
        check(replaced(sign(), x_amz_date=None))


@settings(max_examples=200)
@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_header_makes_anything_but_an_error(date, rest):
    with pytest.raises((IncompleteSignatureException, InvalidSignatureException, MissingAuthenticationTokenException)):
        check(replaced(sign(), date=date, x_amz_date=None, authorization=f"AWS4-HMAC-SHA256 {rest}"))


def test_a_year_that_few_clocks_know_is_expired():
    for date in ("Mon, 01 Jan 0999 00:00:00 GMT", "00010101T000000Z"):
        with pytest.raises(InvalidSignatureException, match="Signature expired"):
            check(replaced(sign(), x_amz_date=date))


def test_a_session_token_is_refused_with_the_reason():
    with pytest.raises(UnrecognizedClientException, match="issues no session tokens"):
        check(sign(token="session"))


def test_a_presigned_request_is_refused_with_the_reason():
    presigned = Request("POST", "/", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0", [("host", "a")], b"")
    with pytest.raises(IncompleteSignatureException, match="Presigned requests are not accepted"):
        check(presigned)
