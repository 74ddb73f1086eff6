import pytest

from regard.wire import service


def test_the_model_is_the_service_that_clients_sign_for():
    assert (service.API_VERSION, service.TARGET_PREFIX, service.SIGNING_NAME) == (
        "2016-06-27",
        "RekognitionService",
        "rekognition",
    )


def test_every_operation_can_be_looked_up_and_has_shapes():
    names = service.operation_names()
    assert len(names) == len(set(names)) == 75
    for name in names:
        operation = service.operation(name)
        assert operation.name == name
        assert operation.input_shape is not None
        assert operation.output_shape is not None


def test_an_unknown_operation_is_a_key_error():
    with pytest.raises(KeyError):
        service.operation("DetectGhosts")


def test_a_model_in_the_users_folder_does_not_change_the_service():
    assert all("botocore" in path for path in service._LOADER.search_paths)
