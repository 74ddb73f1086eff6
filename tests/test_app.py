"""What a request leaves behind in the server's memory."""

import base64
import gc
from pathlib import Path

from tests.fuzz import requests

from regard.use.chain import Call


def test_nothing_of_a_request_is_left_when_it_is_answered(tmp_path: Path, photos: dict[str, Path]) -> None:
    """Without the collector of circles, which may not come by for thousands of pictures."""
    picture = {"Bytes": base64.b64encode(photos["obama"].read_bytes()).decode()}
    with requests.opened(tmp_path) as opened:
        opened.ask("CreateCollection", CollectionId="staff")
        gc.collect()
        gc.disable()
        try:
            found = opened.ask("DetectFaces", Image=picture)
            indexed = opened.ask("IndexFaces", Image=picture, CollectionId="staff")
            searched = opened.ask("SearchFacesByImage", Image=picture, CollectionId="staff")
            refused = opened.ask("DetectFaces", Image={"Bytes": ""})
            unknown = opened.ask("SearchFacesByImage", Image=picture, CollectionId="nobody")
            left = [one for one in gc.get_objects() if isinstance(one, Call)]
        finally:
            gc.enable()
    assert left == []
    assert len(found["FaceDetails"]) == len(indexed["FaceRecords"]) == len(searched["FaceMatches"]) == 1
    assert refused["__type"] == "InvalidParameterException"
    assert unknown["__type"] == "ResourceNotFoundException"
