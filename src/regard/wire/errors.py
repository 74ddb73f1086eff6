"""The errors that a client can receive, one class each, named by AWS's code.

The first group is what the service model declares; a test keeps it complete. The second is what any AWS
service with the JSON protocol answers before an operation is reached. Raise the class with a message, or
without one where AWS always sends the same sentence.
"""

from collections.abc import Mapping
from typing import ClassVar


class ServiceError(Exception):
    """An error to answer: `code` and `status` by class, `message` by occurrence.

    `members` are the further members of the error's body; one modelled error has any.
    """

    status: ClassVar[int] = 400
    text: ClassVar[str] = "The request cannot be answered."

    def __init__(self, message: str | None = None, *, members: Mapping[str, str] | None = None) -> None:
        self.message = self.text if message is None else message
        self.members = dict(members or {})
        super().__init__(self.message)

    @property
    def code(self) -> str:
        return type(self).__name__


class AccessDeniedException(ServiceError):
    text = "You are not authorized to perform the action."


class ConflictException(ServiceError):
    text = "A user with the same id already exists, or the user is being changed by another request."


class HumanLoopQuotaExceededException(ServiceError):
    """Its members are ResourceType, QuotaCode and ServiceCode."""

    text = "The number of in-progress human reviews you have has exceeded the number allowed."


class IdempotentParameterMismatchException(ServiceError):
    """AWS's text: The ClientRequestToken: T you have supplied is already in use."""

    text = "The ClientRequestToken you have supplied is already in use."


class ImageTooLargeException(ServiceError):
    text = "Image size is too large."


class InternalServerError(ServiceError):
    status = 500
    text = "The service experienced an internal error. Try your call again."


class InvalidImageFormatException(ServiceError):
    text = "Request has invalid image format"


class InvalidManifestException(ServiceError):
    text = "The manifest file is empty or larger than the allowed limit."


class InvalidPaginationTokenException(ServiceError):
    text = "Invalid Pagination Token"


class InvalidParameterException(ServiceError):
    text = "Request has invalid parameters"


class InvalidPolicyRevisionIdException(ServiceError):
    text = "The supplied revision id for the project policy is invalid."


class InvalidS3ObjectException(ServiceError):
    text = "Unable to get object metadata from S3. Check object key, region and/or access permissions."


class LimitExceededException(ServiceError):
    text = "A service limit was exceeded."


class MalformedPolicyDocumentException(ServiceError):
    text = "The format of the project policy document is incorrect."


class ProvisionedThroughputExceededException(ServiceError):
    text = "Provisioned Rate exceeded."


class ResourceAlreadyExistsException(ServiceError):
    text = "A resource with the specified ID already exists."


class ResourceInUseException(ServiceError):
    text = "Specified resource is in use."


class ResourceNotFoundException(ServiceError):
    text = "The resource specified in the request cannot be found."


class ResourceNotReadyException(ServiceError):
    text = "The requested resource isn't ready."


class ServiceQuotaExceededException(ServiceError):
    text = "The size of the resource exceeds the allowed limit."


class SessionNotFoundException(ServiceError):
    text = "The session could not be found."


class ThrottlingException(ServiceError):
    text = "Slow down; sudden increase in rate of requests."


class VideoTooLargeException(ServiceError):
    text = "The video is larger or longer than the allowed limit."


class IncompleteSignatureException(ServiceError):
    text = "The request signature does not conform to AWS standards."


class InvalidSignatureException(ServiceError):
    text = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )


class MissingAuthenticationTokenException(ServiceError):
    text = "Request is missing Authentication Token"


class SerializationException(ServiceError):
    text = "The request body could not be read."


class UnknownOperationException(ServiceError):
    text = "The requested operation is not one of this service."


class UnrecognizedClientException(ServiceError):
    text = "The security token included in the request is invalid."
