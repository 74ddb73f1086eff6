"""Requests made from AWS's own description of them: valid ones, nearly valid ones, and JSON that is none.

What JSON has and Python has not, such as a name that is there twice or a number that is too large, stands in a
document as `Raw` or `Pairs`.
"""

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

import botocore.session
from tests.fuzz import mutate

MODEL = botocore.session.get_session().get_service_model("rekognition")
LARGE = 400_000  # values in one list, far more than any request has

TEXTS = (
    *("1", "x" * 20, "staff", "arn:aws:iam::123456789012:role/r", "00000000-0000-0000-0000-000000000000"),
    "arn:aws:rekognition:us-east-1:123456789012:project/p/1",
    "arn:aws:rekognition:us-east-1:123456789012:project/p/version/v/1",
    "arn:aws:rekognition:us-east-1:123456789012:project/p/dataset/train/1",
    "arn:aws:sns:us-east-1:123456789012:AmazonRekognition-t",
)
# What the target puts in place of these is there.
PLACEHOLDERS = {
    "CollectionId": ("fuzz", "fuzz", "fuzz", "other"),
    "FaceId": ("@face0@", "@face1@", "@face2@"),
    "UserId": ("ann", "bob"),
    "ResourceArn": ("@collection@",),
    "ResourceARN": ("@collection@",),
    "JobId": ("@job@", "@bulk@"),
    "NextToken": ("@token@", "@token@", ""),
    "Bucket": ("local", "local", "other", "..", "."),
    "S3Bucket": ("local", "other"),
    "Name": (
        "picture.png",
        "video.mp4",
        "manifest.jsonl",
        "folder",
        "../picture.png",
        "/etc/passwd",
        "a\0b",
        "x" * 1024,
    ),
    "Id": ("44", "x"),
    "ClientRequestToken": ("token1", "token2"),
}


@dataclass(frozen=True)
class Raw:
    """JSON, or nearly, as it is."""

    text: str


@dataclass
class Pairs:
    """An object, a name of which may be there more than once."""

    items: list[tuple[str, Any]]


ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 5.0, 0.5, -0.0, 2**31, 2**63, 2**64, 10**40, 1e308, -1e308, 5e-324, 100.0000001),
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "é",
        "顔",
        "😀",
        "\u202e",
        "\ufffe",
        "a/b",
        "..",
        "%00",
        "x" * 300,
        "x" * 3000,
        "AAAA",
        "====",
        "@@@",
    ),
    *([], {}, [None], [[]], [{}], {"": ""}, {"a": None}, [1, "a", None], {"__type": "x"}),
    *map(
        Raw,
        ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e", "01", "+1", "0x10", "'a'", "undefined", "1.", "--1"),
    ),
    *map(
        Raw, ('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x"', '"\n"', '"', "[", "{", "]", "}", "/**/1", "1,", "")
    ),
    *map(Raw, ("[" * 500 + "]" * 500, "[" * 5000 + "]" * 5000, '{"a":' * 1000 + "1" + "}" * 1000)),
)


def valid(shape: Any, random: Random, name: str = "") -> Any:
    """A value that the shape allows, or nearly: of texts with a pattern that is not known, any will do."""
    metadata = shape.metadata
    low = metadata.get("min", 0)
    match shape.type_name:
        case "structure":
            chance = random.random()
            names = [n for n in shape.members if n in shape.required_members or random.random() < chance]
            return Pairs([(n, valid(shape.members[n], random, n)) for n in names])
        case "list":
            count = random.choice((max(low, 1), max(low, 1), low, 2, min(metadata.get("max", 9), 200)))
            return [valid(shape.member, random, name.removesuffix("s")) for _ in range(count)]
        case "map":
            return Pairs([(valid(shape.key, random), valid(shape.value, random)) for _ in range(random.randrange(3))])
        case "string":
            return _text(shape, random, name)
        case "blob":
            return random.choice(("AAAA", "iVBORw0KGgo=", "/9j/4AAQ", "/9j//9k="))
        case "boolean":
            return random.random() < 0.5
        case "timestamp":
            return random.choice((0, 1_700_000_000, 1_700_000_000.5))
        case "float":
            return random.choice((low, metadata.get("max", 100), random.uniform(0, 100)))
        case _:
            return random.choice((low, low + 1, metadata.get("max", 2**31 - 1), 5))


def _text(shape: Any, random: Random, name: str) -> str:
    if name in PLACEHOLDERS and random.random() < 0.9:
        return random.choice(PLACEHOLDERS[name])
    if getattr(shape, "enum", None):
        return str(random.choice(shape.enum))
    allowed = _pattern(shape.metadata.get("pattern", ".*"))
    fitting = [text for text in TEXTS if allowed.fullmatch(text) and len(text) >= shape.metadata.get("min", 0)]
    return random.choice(fitting or TEXTS)


def _pattern(pattern: str) -> "re.Pattern[str]":
    return re.compile(pattern.replace(r"\p{L}\p{Z}\p{N}", r"\w\s"))


def changed(document: Any, random: Random) -> Any:
    """Some place in it is not as it should be."""
    places = list(_places(document))
    if not places or random.random() < 0.05:
        return _odd(random)
    holder, key = random.choice(places)
    match random.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(document, Pairs):
            document.items.append((random.choice(("Unknown", "", "\0", "collectionId", "x" * 1000)), _odd(random)))
        case 2:
            holder.append(holder[key])
        case 3 if random.random() < 0.02:
            _put(holder, key, [random.choice((None, {}, "", 0, [], "staff", Pairs([])))] * random.choice((9000, LARGE)))
        case 4:
            value = _value(holder, key)
            _put(
                holder, key, random.choice(([value], {"": value}, [value] * 101, str(value), Pairs([("a", value)] * 2)))
            )
        case _:
            _put(holder, key, _odd(random))
    return document


def _odd(random: Random) -> Any:
    return deepcopy(random.choice(ODD))


def _places(node: Any) -> Any:
    if isinstance(node, Pairs | list):
        items: list[Any] = node.items if isinstance(node, Pairs) else node
        for number, item in enumerate(items[:50]):
            yield items, number
            yield from _places(item[1] if isinstance(node, Pairs) else item)


def _value(holder: list[Any], key: int) -> Any:
    return holder[key][1] if isinstance(holder[key], tuple) else holder[key]


def _put(holder: list[Any], key: int, value: Any) -> None:
    holder[key] = (holder[key][0], value) if isinstance(holder[key], tuple) else value


def dumped(node: Any) -> str:
    """As JSON, or nearly."""
    if isinstance(node, Raw):
        return node.text
    if isinstance(node, dict):
        node = Pairs(list(node.items()))
    if isinstance(node, Pairs):
        return "{" + ",".join(f"{json.dumps(name)}:{dumped(value)}" for name, value in node.items) + "}"
    if isinstance(node, list):
        if len(node) > 1000:
            return "[" + (dumped(node[0]) + ",") * (len(node) - 1) + dumped(node[0]) + "]"
        return "[" + ",".join(map(dumped, node)) + "]"
    return json.dumps(node)


def body(operation: str, random: Random) -> bytes:
    """The body of a request."""
    document = valid(MODEL.operation_model(operation).input_shape, random)
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 4))):
        document = changed(document, random)
    data = dumped(document).encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        data = mutate.anyhow(data, random)
    return data


# What a body is, told without the server's own reading of it.


def is_json(data: bytes) -> bool:
    """Whether the bytes are JSON in strict UTF-8, of numbers and depths that are not senseless."""
    try:
        text = data.decode()
        document = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return _depth(text) <= 1024


def _refuse(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    if abs(number := float(text)) == float("inf"):
        raise ValueError(text)
    return number


def _depth(text: str) -> int:
    depth = most = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        most = max(most, depth)
    return most


def fits(shape: Any, value: Any) -> bool:
    """Whether a JSON value is of the types that a shape has, all members known; null stands for what is not there."""
    if value is None:
        return True
    match shape.type_name:
        case "structure":
            return isinstance(value, dict) and all(
                n in shape.members and fits(shape.members[n], v) for n, v in value.items()
            )
        case "list":
            return isinstance(value, list) and all(fits(shape.member, item) for item in value)
        case "map":
            return isinstance(value, dict) and all(fits(shape.value, item) for item in value.values())
        case "boolean":
            return isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "blob":
            return (
                isinstance(value, str)
                and re.fullmatch(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", value) is not None
            )
        case "integer" | "long":
            bits = 31 if shape.type_name == "integer" else 63
            return (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and value == int(value)
                and -(2**bits) <= value < 2**bits
            )
        case "timestamp":
            return isinstance(value, int | float) and not isinstance(value, bool) and -6e10 < value < 2.5e11
        case _:
            return isinstance(value, int | float) and not isinstance(value, bool)
