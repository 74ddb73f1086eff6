"""Stored video: jobs that look at a video and give pages of results. One module per kind of job."""

from collections.abc import Mapping

from regard.operations.video.analysis import Analysis
from regard.operations.video.celebrities import CelebrityRecognition
from regard.operations.video.face_search import FaceSearch
from regard.operations.video.faces import FaceDetection
from regard.operations.video.labels import LabelDetection
from regard.operations.video.moderation import ContentModeration
from regard.operations.video.people import PersonTracking
from regard.operations.video.segments import SegmentDetection
from regard.operations.video.text import TextDetection

ANALYSES: Mapping[str, Analysis] = {
    "LabelDetection": LabelDetection(),
    "FaceDetection": FaceDetection(),
    "FaceSearch": FaceSearch(),
    "PersonTracking": PersonTracking(),
    "CelebrityRecognition": CelebrityRecognition(),
    "ContentModeration": ContentModeration(),
    "TextDetection": TextDetection(),
    "SegmentDetection": SegmentDetection(),
}
"""By what comes after Start and Get in the names of operations: `LabelDetection` and so on."""
