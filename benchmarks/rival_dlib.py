"""The same photos through `face_recognition` (dlib), what most people use today. Run by `rival`, in its own venv.

python benchmarks/rival_dlib.py PHOTO…
"""

import json
import sys
import time

import face_recognition
import numpy as np

REPEATS = 7


def timed(work):
    """The median milliseconds of a call, and its answer."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        answer = work()
        times.append((time.perf_counter() - started) * 1000)
    return float(np.median(times)), answer


for path in sys.argv[1:]:
    image = face_recognition.load_image_file(path)
    detect, boxes = timed(lambda image=image: face_recognition.face_locations(image))
    embed, _ = timed(lambda image=image, boxes=boxes: face_recognition.face_encodings(image, boxes))
    print(json.dumps({"path": path, "faces": len(boxes), "detect_ms": detect, "embed_ms": embed}), flush=True)
