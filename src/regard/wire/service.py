"""The Rekognition service as botocore describes it: AWS's own data, so that nothing is typed twice.

Every other module of the wire layer interprets this model. Only the copy inside the botocore package is
read: a model that a user keeps in `~/.aws/models` must not change what the server speaks.
"""

from typing import cast

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, StructureShape

_LOADER = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
_MODEL = ServiceModel(_LOADER.load_service_model("rekognition", "service-2"), "rekognition")
_OPERATIONS = {name: _MODEL.operation_model(name) for name in sorted(_MODEL.operation_names)}

API_VERSION: str = _MODEL.api_version
TARGET_PREFIX: str = _MODEL.metadata["targetPrefix"]
SIGNING_NAME: str = _MODEL.signing_name


def operation(name: str) -> OperationModel:
    """The model of one operation, such as "DetectFaces". KeyError if AWS has none of that name."""
    return _OPERATIONS[name]


def operation_names() -> tuple[str, ...]:
    """The 75 operations of the service, in alphabetical order."""
    return tuple(_OPERATIONS)


def input_shape(operation: OperationModel) -> StructureShape:
    """The structure of an operation's request; every operation of this service has one."""
    return cast(StructureShape, operation.input_shape)


def output_shape(operation: OperationModel) -> StructureShape:
    """The structure of an operation's response; every operation of this service has one, if an empty one."""
    return cast(StructureShape, operation.output_shape)
