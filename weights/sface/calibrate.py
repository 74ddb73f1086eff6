"""Make calibration.json: which cosine of SFace stands for which false match rate (FMR).

    python weights/sface/calibrate.py FOLDER

FOLDER holds FairFace validation pictures and `labels.csv` (file, age, gender, race); Kärkkäinen and Joo
2021, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age", CC BY 4.0.

Every pair of different faces of the same race and gender is a comparison of strangers, except the pairs in
`same_person.csv`, which a viewer judged to show one person. Faces under 10 years are left out of the knots
(small children look so alike to the network that no useful threshold would remain) and reported apart. Only faces that QualityFilter AUTO accepts count,
as IndexFaces enrols no others unless told to.

FMR of 0.01 and above is counted in each group. Below, one group has too few pairs, so all groups share the
shape of the tail: each group's cosines are scaled so that its FMR of 0.1 is at 0 and of 0.01 at 1, and pooled.
The pooled tail is counted down to 0.001 and continued below as a normal distribution's, with the slope that
it has between 0.01 and 0.001. At each rate the knot is the group with the highest cosine, and of it the upper
end (95 %) of a bootstrap over faces.
"""

import csv
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import NormalDist

import cv2
import numpy as np

from regard.settings import Settings
from regard.vision.faces import FaceEngine
from regard.vision.quality import rejections
from regard.vision.similarity import at_rate

HERE = Path(__file__).parent
RATES = 10.0 ** -np.arange(0.25, 6.01, 0.25)
START, COUNTED, POOLED = 1e-1, 1e-2, 1e-3
CHILDREN = ("0-2", "3-9")
REPLICATES = 300
MIN_PAIRS = 1500  # a group with fewer says too little about 1 in 100; it is reported as not measured
UPPER = 95


def embeddings(folder, rows):
    engine = FaceEngine.load(Settings())

    def one(row):
        image = np.ascontiguousarray(cv2.imread(str(folder / row["file"]))[:, :, ::-1])
        faces = engine.describe(image, engine.detect(image)[:1], frozenset())
        if not faces or rejections(faces[0], image.shape[1::-1], "AUTO"):
            return None
        return engine.embed(image, faces)[0]

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


def probit(rates):
    return np.array([-NormalDist().inv_cdf(float(rate)) for rate in np.atleast_1d(rates)])


def tail(scaled, weights):
    """The pooled tail at those RATES that are below COUNTED."""
    rates = RATES[RATES < COUNTED * 0.999]
    at_counted, at_pooled = weighted_quantiles(scaled, weights, [COUNTED, POOLED])
    z_counted, z_pooled = probit([COUNTED, POOLED])
    slope = (at_pooled - at_counted) / (z_pooled - z_counted)
    continued = at_pooled + slope * (probit(rates) - z_pooled)
    return np.where(rates >= POOLED * 0.999, weighted_quantiles(scaled, weights, rates), continued)


def curves(groups, random):
    """Cosines at RATES for each replicate and group: [1 + REPLICATES, groups, rates]."""
    result = []
    drawn = {name: resampled(len(cosines), random) for name, (cosines, _) in groups.items()}
    places = {name: np.nonzero(mask) for name, (_, mask) in groups.items()}
    for replicate in range(REPLICATES + 1):
        heads, scales, scaled, weights = [], [], [], []
        for name, (cosines, _) in groups.items():
            i, j = places[name]
            values, weight = cosines[i, j], drawn[name][replicate][i] * drawn[name][replicate][j]
            *head, start, counted = weighted_quantiles(
                values, weight, [*RATES[RATES >= COUNTED * 0.999], START, COUNTED]
            )
            heads.append(head)
            scales.append((start, counted - start))
            scaled.append((values - start) / (counted - start))
            weights.append(weight)
        shape = tail(np.concatenate(scaled), np.concatenate(weights))
        result.append([[*head, *(start + scale * shape)] for head, (start, scale) in zip(heads, scales)])
    return np.array(result)


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
    cosines = curves(groups, np.random.default_rng(0))
    which = cosines[0].argmax(0)
    upper = np.percentile(cosines, UPPER, axis=0)
    worst = np.maximum.accumulate(upper[which, np.arange(len(RATES))])
    values = at_rate(RATES)
    rises = np.diff(worst, prepend=-1) > 1e-4  # a bound that does not rise with the next rate holds for that too
    worst, values = worst[rises], values[rises]
    knots = [[round(float(c), 4), round(float(v), 3)] for c, v in zip(worst, values)]
    children = grouped(lambda r: r["race"], lambda r: r["age"] in CHILDREN)
    child_cosines = np.concatenate([c[m] for c, m in children.values()])
    at = {str(v): float(np.interp(v, values, worst)) for v in (50, 80, 90, 99)}
    report = {
        "version": 1,
        "embedder": version,
        "knots": knots,
        "provenance": {
            "data": "FairFace validation (CC BY 4.0), faces of 10 years and older that QualityFilter AUTO accepts, pairs of strangers of the same race and gender",
            "faces": sum(len(c) for c, _ in groups.values()),
            "pairs": sum(int(m.sum()) for _, m in groups.values()),
            "meaning": f"FMR of the group that fares worst at each knot, upper end ({UPPER} %) of a bootstrap over faces",
            "measured": "Similarity up to 50 (FMR 0.01): counted within the worst group",
            "pooled": "Similarity 50 to 65 (FMR 0.001): the worst group's scale, the shape of the tail counted over all groups",
            "extrapolated": "Similarity above 65 (FMR below 0.001): normal tail; FMR of 1e-4 and less was not measured",
            "cosine_at": {key: round(value, 4) for key, value in at.items()},
            "groups": {
                name: {
                    "pairs": int(mask.sum()),
                    "cosine_at_fmr_0.01": round(
                        float(weighted_quantiles(c[mask], np.ones(mask.sum()), [COUNTED])[0]), 4
                    ),
                    **{f"fmr_at_similarity_{key}": round(float((c[mask] > at[key]).mean()), 6) for key in ("50", "80")},
                }
                for name, (c, mask) in groups.items()
            },
            "not_measured": small,
            "not_covered": {
                "children under 10, pairs of the same race": len(child_cosines),
                "fmr_at_similarity": {
                    key: round(float((child_cosines > value).mean()), 6) for key, value in at.items()
                },
                "note": "some of these pairs may show the same child; they were not looked through",
            },
        },
    }
    (HERE / "calibration.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(report["provenance"], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
