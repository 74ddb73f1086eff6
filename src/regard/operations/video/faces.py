"""FaceDetection: the faces in a video, as DetectFaces tells of those in a picture."""

from collections.abc import Iterable, Iterator

from regard.media.video import Chunk, Frame
from regard.operations import shapes
from regard.operations.context import Context, Request
from regard.operations.video.analysis import DEFAULT_INTERVAL_MS, Part, Result, Task


class FaceDetection:
    """Every face of every frame that is looked at, the largest first."""

    def interval_ms(self, request: Request) -> int:
        return DEFAULT_INTERVAL_MS

    def margin(self, request: Request) -> int:
        return 0

    def check(self, context: Context, request: Request) -> None:
        """Whatever the model lets pass can be carried out."""

    def observe(self, task: Task, chunk: Chunk, frames: Iterable[Frame]) -> Part:
        engine = task.context.services.vision.faces
        wanted = [task.request.get("FaceAttributes", "DEFAULT")]
        attributes, landmarks = shapes.wanted(wanted, task.context.guard.withheld)
        seen = []
        for frame in frames:
            image = frame.pixels
            size = image.shape[1], image.shape[0]
            # In a video there is always a next frame, so nobody is looked for upside down.
            faces = engine.describe(image, engine.detector.upright(image), attributes)
            seen.append([frame.time_ms, [shapes.face_detail(face, size, landmarks) for face in faces]])
        return seen

    def conclude(self, task: Task, parts: Iterable[Part]) -> Iterator[Result]:
        for part in parts:
            for time_ms, faces in part:
                for face in faces:
                    yield Result(time_ms, 0, {"Timestamp": time_ms, "Face": face})
