"""Collections: the named sets of faces and users that are searched."""

from regard.operations import tags as tagging
from regard.operations.context import Context, Request, Response
from regard.operations.paging import paginate
from regard.store import collections, subjects, tags
from regard.use import receipts
from regard.wire.errors import ResourceAlreadyExistsException


def create_collection(context: Context, request: Request) -> Response:
    collection_id, model = request["CollectionId"], context.services.vision.faces.model_version
    arn = context.arn(f"collection/{collection_id}")
    new_tags = tagging.checked(request.get("Tags", {}))
    with context.services.database.begin() as connection:
        if not collections.create(connection, context.principal.account_id, collection_id, model):
            raise ResourceAlreadyExistsException(f"The collection id: {collection_id} already exists.")
        tags.put(connection, arn, new_tags)
    # AWS answers without the leading "arn:" here, and with it in DescribeCollection.
    return {"StatusCode": 200, "CollectionArn": arn.removeprefix("arn:"), "FaceModelVersion": model}


def describe_collection(context: Context, request: Request) -> Response:
    collection = context.collection(request["CollectionId"])
    return {
        "FaceCount": collection.face_count,
        "UserCount": collection.user_count,
        "FaceModelVersion": collection.face_model_version,
        "CollectionARN": context.arn(f"collection/{collection.collection_id}"),
        "CreationTimestamp": collection.created_at,
    }


def list_collections(context: Context, request: Request) -> Response:
    with context.services.database.read() as connection:
        rows, token = paginate(
            context,
            request,
            ["ListCollections"],
            lambda after, limit: collections.page(connection, context.principal.account_id, after, limit),
        )
    return {
        "CollectionIds": [row.collection_id for row in rows],
        "FaceModelVersions": [row.face_model_version for row in rows],
        "NextToken": token,
    }


def delete_collection(context: Context, request: Request) -> Response:
    collection_id = request["CollectionId"]
    with context.services.database.begin() as connection:
        collection = context.locked(connection, collection_id)
        if collection.face_count or collection.user_count:
            receipts.give(
                connection,
                context.services.sealer,
                context.principal.account_id,
                receipts.BY_CLIENT,
                collections=[collection_id],
                faces=collection.face_count,
                digest=subjects.digest(connection, collection.key),
                users=collection.user_count,
            )
        collections.delete(connection, collection.key)
        tags.remove(connection, context.arn(f"collection/{collection_id}"))
    context.services.gallery.forget(collection.key)
    return {"StatusCode": 200}
