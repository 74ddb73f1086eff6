"""What the server does: one module per capability, one function per operation.

An operation is a plain function from a context and a validated request, shaped as AWS's model says, to a
response of the same kind. It is the one place where AWS shapes and pixels meet.
"""

from collections.abc import Mapping

from regard.jobs.work import Work
from regard.operations import (
    bulk,
    celebrities,
    collections,
    equipment,
    faces,
    indexing,
    labels,
    moderation,
    searching,
    tags,
    text,
    users,
)
from regard.operations.context import ContextOf, Handler, Services
from regard.operations.video import jobs as video_jobs
from regard.operations.video.work import works as video_works

OPERATIONS: dict[str, Handler] = {
    "DetectFaces": faces.detect_faces,
    "CompareFaces": faces.compare_faces,
    "DetectLabels": labels.detect_labels,
    "DetectModerationLabels": moderation.detect_moderation_labels,
    "DetectText": text.detect_text,
    "DetectProtectiveEquipment": equipment.detect_protective_equipment,
    "RecognizeCelebrities": celebrities.recognize_celebrities,
    "GetCelebrityInfo": celebrities.get_celebrity_info,
    "CreateCollection": collections.create_collection,
    "DescribeCollection": collections.describe_collection,
    "ListCollections": collections.list_collections,
    "DeleteCollection": collections.delete_collection,
    "IndexFaces": indexing.index_faces,
    "ListFaces": indexing.list_faces,
    "DeleteFaces": indexing.delete_faces,
    "SearchFaces": searching.search_faces,
    "SearchFacesByImage": searching.search_faces_by_image,
    "CreateUser": users.create_user,
    "DeleteUser": users.delete_user,
    "ListUsers": users.list_users,
    "AssociateFaces": users.associate_faces,
    "DisassociateFaces": users.disassociate_faces,
    "SearchUsers": searching.search_users,
    "SearchUsersByImage": searching.search_users_by_image,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "ListTagsForResource": tags.list_tags_for_resource,
    **video_jobs.operations(),
    "StartMediaAnalysisJob": bulk.start_media_analysis_job,
    "GetMediaAnalysisJob": bulk.get_media_analysis_job,
    "ListMediaAnalysisJobs": bulk.list_media_analysis_jobs,
}


def works(services: Services, context_of: ContextOf) -> Mapping[str, Work]:
    """What is done for each kind of job."""
    return {**video_works(services, context_of), bulk.KIND: bulk.BulkWork(services, context_of)}
