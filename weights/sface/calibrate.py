"""Make calibration.json: which cosine of SFace stands for which false match rate (FMR).

    python weights/sface/calibrate.py FOLDER

FOLDER holds FairFace validation pictures and `labels.csv` (file, age, gender, race); Kärkkäinen and Joo
2021, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age", CC BY 4.0.

Every pair of different faces of the same race and gender is a comparison of strangers, except the pairs in
`same_person.csv`, which a viewer judged to show one person. Faces under 10 years are left out of the knots
(small children look so alike to the network that no useful threshold would remain) and reported apart.

FMR down to MEASURED is counted: per group the 95th percentile of a bootstrap over faces, of which the largest
group's counts. Below it the tail is extrapolated: excesses over a group's cosine at MEASURED follow a
generalised Pareto distribution (Pickands 1975; Coles 2001, "An Introduction to Statistical Modeling of
Extreme Values", chapter 4) with one shape for all groups and a scale for each, both at the upper end of
their bootstrap; again the largest group counts.
"""

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from regard.settings import Settings
from regard.vision.faces import FaceEngine
from regard.vision.similarity import at_rate

HERE = Path(__file__).parent
MEASURED = 1e-2
RATES = 10.0 ** -np.arange(0.25, 6.01, 0.25)
CHILDREN = ("0-2", "3-9")
REPLICATES = 300
MIN_PAIRS = 2000  # a group with fewer says too little about 1 in 100; it is reported as not measured
UPPER = 95


def embeddings(folder, rows):
    engine = FaceEngine.load(Settings())

    def one(row):
        image = np.ascontiguousarray(cv2.imread(str(folder / row["file"]))[:, :, ::-1])
        faces = engine.detect(image)
        return engine.embed(image, faces[:1])[0] if faces else None

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, rows)), engine.model_version


def impostors(vectors, files, same):
    """Matrix of cosines, and a mask of the pairs of strangers, each once."""
    mask = np.triu(np.ones((len(files), len(files)), bool), 1)
    place = {file: i for i, file in enumerate(files)}
    for a, b in same:
        if a in place and b in place:
            mask[place[a], place[b]] = mask[place[b], place[a]] = False
    return vectors @ vectors.T, mask


def resampled(n, random):
    """How often each face is drawn, for each replicate; the first is the sample itself."""
    return [np.ones(n)] + [np.bincount(random.integers(0, n, n), minlength=n).astype(float) for _ in range(REPLICATES)]


def weighted_quantiles(values, weights, rates):
    """The cosines that shares `rates` of the weighted pairs exceed."""
    order = np.argsort(-values)
    share = np.cumsum(weights[order]) / weights.sum()
    return np.interp(rates, share, values[order])


def pareto(excesses, weights):
    """Shape and scale by probability-weighted moments (Hosking and Wallis 1987)."""
    order = np.argsort(excesses)
    x, w = excesses[order], weights[order] / weights.sum()
    above = 1 - (np.cumsum(w) - w / 2)
    a0, a1 = (w * x).sum(), (w * above * x).sum()
    shape = 2 - a0 / (a0 - 2 * a1)
    return shape, 2 * a0 * a1 / (a0 - 2 * a1)


def exponential_scale(excesses, weights, shape):
    """Scale of a generalised Pareto of this shape with the mean of the excesses."""
    return (weights * excesses).sum() / weights.sum() * (1 - shape)


def curves(groups, random):
    """Per group: cosines at RATES, upper bounds, and per group what is reported."""
    measured = RATES >= MEASURED * 0.999
    samples, excess = {}, []
    for name, (cosines, mask) in groups.items():
        i, j = np.nonzero(mask)
        values = cosines[i, j]
        draws = [draw[i] * draw[j] for draw in resampled(len(cosines), random)]
        heads = np.array([weighted_quantiles(values, w, np.append(RATES[measured], MEASURED)) for w in draws])
        samples[name] = values, draws, heads
        over = values - heads[0, -1]
        excess.append((over[over > 0] / over[over > 0].mean()))
    pooled = np.concatenate(excess)
    shapes = [
        pareto(*(lambda w: (pooled[w > 0], w[w > 0]))(np.bincount(random.integers(0, len(pooled), len(pooled)), minlength=len(pooled)).astype(float)))[0]
        for _ in range(REPLICATES)
    ]
    shape = float(np.percentile(shapes, UPPER))
    result = {}
    for name, (values, draws, heads) in samples.items():
        ratios = MEASURED / RATES[~measured]
        growth = np.log(ratios) if abs(shape) < 1e-9 else (ratios**shape - 1) / shape
        tails = []
        for w, head in zip(draws, heads):
            over = values - head[-1]
            tails.append(head[-1] + exponential_scale(over[over > 0], w[over > 0], shape) * growth)
        all_rates = np.hstack([heads[:, :-1], np.array(tails)])
        result[name] = all_rates[0], np.percentile(all_rates, UPPER, axis=0), len(values)
    return result, shape, float(np.median(shapes))


def main():
    folder = Path(sys.argv[1])
    rows = list(csv.DictReader((folder / "labels.csv").open()))
    same = [(row["a"], row["b"]) for row in csv.DictReader((HERE / "same_person.csv").open())]
    vectors, version = embeddings(folder, rows)
    found = [(row, vector) for row, vector in zip(rows, vectors) if vector is not None]

    def grouped(key, keep):
        members = {}
        for row, vector in found:
            if keep(row):
                members.setdefault(key(row), []).append((row["file"], vector))
        return {
            name: impostors(np.array([v for _, v in faces]), [f for f, _ in faces], same)
            for name, faces in sorted(members.items())
        }

    groups = grouped(lambda r: f"{r['race']}, {r['gender'].lower()}", lambda r: r["age"] not in CHILDREN)
    small = {name: int(mask.sum()) for name, (_, mask) in groups.items() if mask.sum() < MIN_PAIRS}
    groups = {name: group for name, group in groups.items() if name not in small}
    result, shape, middle = curves(groups, np.random.default_rng(0))
    worst = np.max([upper for _, upper, _ in result.values()], axis=0)
    values = at_rate(RATES)
    knots = [[round(float(c), 4), round(float(v), 3)] for c, v in zip(worst, values)]
    children = grouped(lambda r: r["race"], lambda r: r["age"] in CHILDREN)
    child_cosines = np.concatenate([c[m] for c, m in children.values()])
    at = {str(v): float(np.interp(v, values, worst)) for v in (50, 80, 90, 99)}
    report = {
        "version": 1,
        "embedder": version,
        "knots": knots,
        "provenance": {
            "data": "FairFace validation (CC BY 4.0), faces of 10 years and older, pairs of strangers of the same race and gender",
            "faces": sum(len(c) for c, _ in groups.values()),
            "pairs": sum(n for _, _, n in result.values()),
            "meaning": f"FMR of the group that fares worst at each knot, {UPPER}th percentile of a bootstrap over faces",
            "measured": f"knots with Similarity up to 50 (FMR 1 to {MEASURED:g})",
            "extrapolated": f"knots above 50: generalised Pareto tail from FMR {MEASURED:g}, shape {shape:.3f} "
            f"(bootstrap median {middle:.3f}, {UPPER}th percentile used); there are too few pairs to measure them",
            "cosine_at": {key: round(value, 4) for key, value in at.items()},
            "groups": {
                name: {
                    "pairs": n,
                    "cosine_at_fmr_0.01": round(float(np.interp(-2, np.log10(RATES)[::-1], point[::-1])), 4),
                    "fmr_at_similarity_50": round(float((groups[name][0][groups[name][1]] > at["50"]).mean()), 5),
                    "fmr_at_similarity_80": round(float((groups[name][0][groups[name][1]] > at["80"]).mean()), 6),
                }
                for name, (point, _, n) in result.items()
            },
            "not_measured": small,
            "not_covered": {
                "children under 10, pairs of the same race": len(child_cosines),
                "fmr_at_similarity": {key: round(float((child_cosines > value).mean()), 6) for key, value in at.items()},
                "note": "some of these pairs may show the same child; they were not looked through",
            },
        },
    }
    (HERE / "calibration.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(report["provenance"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
