"""Which operations are built: the page of the documentation that says so, from the handlers themselves."""

from collections.abc import Collection

# The chapters of AWS's own guide, in its order of the operations.
GROUPS: dict[str, tuple[str, ...]] = {
    "Image analysis": (
        "DetectFaces",
        "CompareFaces",
        "DetectLabels",
        "DetectModerationLabels",
        "DetectText",
        "DetectProtectiveEquipment",
        "RecognizeCelebrities",
        "GetCelebrityInfo",
    ),
    "Face collections": (
        "CreateCollection",
        "DescribeCollection",
        "ListCollections",
        "DeleteCollection",
        "IndexFaces",
        "ListFaces",
        "DeleteFaces",
        "SearchFaces",
        "SearchFacesByImage",
    ),
    "Users": (
        "CreateUser",
        "DeleteUser",
        "ListUsers",
        "AssociateFaces",
        "DisassociateFaces",
        "SearchUsers",
        "SearchUsersByImage",
    ),
    "Stored video": (
        "StartLabelDetection",
        "GetLabelDetection",
        "StartFaceDetection",
        "GetFaceDetection",
        "StartFaceSearch",
        "GetFaceSearch",
        "StartContentModeration",
        "GetContentModeration",
        "StartTextDetection",
        "GetTextDetection",
        "StartCelebrityRecognition",
        "GetCelebrityRecognition",
        "StartSegmentDetection",
        "GetSegmentDetection",
        "StartPersonTracking",
        "GetPersonTracking",
    ),
    "Stream processors": (
        "CreateStreamProcessor",
        "DescribeStreamProcessor",
        "ListStreamProcessors",
        "UpdateStreamProcessor",
        "StartStreamProcessor",
        "StopStreamProcessor",
        "DeleteStreamProcessor",
    ),
    "Face liveness": ("CreateFaceLivenessSession", "GetFaceLivenessSessionResults"),
    "Custom Labels and adapters": (
        "CreateProject",
        "DescribeProjects",
        "DeleteProject",
        "CreateProjectVersion",
        "DescribeProjectVersions",
        "StartProjectVersion",
        "StopProjectVersion",
        "CopyProjectVersion",
        "DeleteProjectVersion",
        "DetectCustomLabels",
        "CreateDataset",
        "DescribeDataset",
        "ListDatasetEntries",
        "ListDatasetLabels",
        "UpdateDatasetEntries",
        "DistributeDatasetEntries",
        "DeleteDataset",
        "PutProjectPolicy",
        "ListProjectPolicies",
        "DeleteProjectPolicy",
    ),
    "Bulk image analysis": ("StartMediaAnalysisJob", "GetMediaAnalysisJob", "ListMediaAnalysisJobs"),
    "Tags": ("TagResource", "UntagResource", "ListTagsForResource"),
}


def table(handled: Collection[str]) -> str:
    """A Markdown page with a row for every operation, built if its name is in `handled`.

    ValueError if `handled` has a name that is no operation.
    """
    total = sum(map(len, GROUPS.values()))
    rows = [
        f"| {name} | {group} | {'built' if name in handled else 'not yet'} |"
        for group, names in GROUPS.items()
        for name in names
    ]
    if unknown := set(handled).difference(*GROUPS.values()):
        raise ValueError(f"not operations of the service: {', '.join(sorted(unknown))}")
    totals = [
        f"| {group} | {sum(name in handled for name in names)} | {len(names)} |" for group, names in GROUPS.items()
    ]
    built = len(set(handled))
    return "\n".join(
        [
            "# Operations",
            "",
            f"{built} of the {total} operations of Amazon Rekognition are built. "
            "One that is not yet built answers with a typed error that says so.",
            "",
            "| Group | Built | Of |",
            "|---|---:|---:|",
            *totals,
            f"| **All** | **{built}** | **{total}** |",
            "",
            "| Operation | Group | Status |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
