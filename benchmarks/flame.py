"""A flame graph of a running server, as an SVG: which functions its threads were in, and for what share of the time.

    py-spy record --pid SERVER --duration 30 --format raw --output stacks.txt
    python -m benchmarks.flame stacks.txt … flame.svg

Only the work on requests is drawn: threads that wait for others, and all that belongs to no request, are left out. A
stack that ends in `InferRequest.infer` is a network at work, one that ends in `_OpenVino.run` waits for a free stream.
No line numbers and no folders of this machine reach the picture.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

WIDTH, ROW, LETTER = 1200, 17, 6.6  # pixels
LEAST = 0.002  # of the whole; what is narrower cannot be seen
# Frames that work for a request begins with: in its own thread, and in those that networks share.
BEGINS = ("answer (regard/app.py", "_WorkItem.run (concurrent/futures/thread.py")
WAITS = ("(threading.py", "(selectors.py", "(queue.py", "_worker (concurrent/futures/thread.py")


@dataclass
class Frame:
    name: str
    samples: int = 0
    children: dict[str, "Frame"] = field(default_factory=dict)


def stacks(lines: Iterable[str]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Of py-spy's raw stacks, those at work on a request, without what is around it, and their samples."""
    for line in lines:
        frames, _, samples = line.rpartition(" ")
        names = [frame.rpartition(":")[0] for frame in frames.split(";")]
        begins = [place for place, name in enumerate(names) if name in BEGINS]
        if begins and not any(name in names[-1] for name in WAITS):
            yield tuple(f"{name})" for name in names[begins[-1] :]), int(samples)


def tree(found: Iterable[tuple[Sequence[str], int]]) -> Frame:
    root = Frame("requests at work")
    for names, samples in found:
        root.samples += samples
        frame = root
        for name in names:
            frame = frame.children.setdefault(name, Frame(name))
            frame.samples += samples
    return root


def boxes(frame: Frame, total: int, left: float = 0.0, depth: int = 0) -> Iterator[tuple[Frame, float, int]]:
    """The frames that are wide enough, each with its left edge 0–1 and how many are below it."""
    if frame.samples < LEAST * total:
        return
    yield frame, left, depth
    for child in sorted(frame.children.values(), key=lambda one: one.name):
        yield from boxes(child, total, left, depth + 1)
        left += child.samples / total


def svg(root: Frame) -> str:
    found = list(boxes(root, root.samples))
    height = ROW * (1 + max(depth for _, _, depth in found))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="monospace" font-size="11">'
    ]
    for frame, left, depth in found:
        share = frame.samples / root.samples
        x, y, width = left * WIDTH, height - ROW * (depth + 1), share * WIDTH
        network = "vision/session.py" in frame.name or "openvino" in frame.name
        colour = "#9ecae1" if network else "#fdd0a2"
        text = frame.name.partition(" (")[0][: max(int((width - 4) / LETTER), 0)]
        parts.append(
            f"<g><title>{escape(frame.name)}, {100 * share:.1f} %</title>"
            f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{colour}"/>'
            + (f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(text)}</text>' if len(text) > 2 else "")
            + "</g>"
        )
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    *sources, target = map(Path, sys.argv[1:])
    counted: Counter[tuple[str, ...]] = Counter()
    for source in sources:
        for names, samples in stacks(source.read_text("utf-8").splitlines()):
            counted[names] += samples
    root = tree(counted.items())
    target.write_text(svg(root), "utf-8")
    own: Counter[str] = Counter()
    for names, samples in counted.items():
        own[names[-1]] += samples
    for name, samples in own.most_common(15):
        print(f"{100 * samples / root.samples:5.1f} %  {name}")


if __name__ == "__main__":
    main()
