import pytest

from regard.wire import errors
from regard.wire.errors import (
    InternalServerError,
    InvalidS3ObjectException,
    ServiceError,
    ThrottlingException,
)
from regard.wire.service import operation

MODELLED = {shape.name: shape for shape in operation("DetectFaces").service_model.error_shapes}
CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ServiceError)]


def test_every_error_of_the_model_can_be_raised():
    assert len(MODELLED) == 23
    assert MODELLED.keys() <= {error.__name__ for error in CLASSES}


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_an_error_carries_its_code_a_text_and_a_status(error):
    assert error().code == error.__name__
    assert error().message == str(error()) == error.text
    assert error("what happened").message == "what happened"
    assert error.text.strip() == error.text != ""


def test_sdks_retry_by_status_only_what_is_our_fault():
    assert InternalServerError.status == 500
    assert ThrottlingException.status == 400
    assert {error.__name__ for error in CLASSES if error.status != 400} == {
        "InternalServerError",
    }


def test_an_empty_message_is_kept():
    assert InvalidS3ObjectException("").message == ""
