"""Fit the temperature that turns logits into probabilities (Guo et al. 2017), and write calibration.json.

    python calibrate.py DATA/imagenet

Of the photos in the folder, by name, every second one is used, the first included; `regard evaluate` measures the
calibration on the others. A photo's name begins with WordNet's number of its class: n01440764_tench.jpg.
"""

import json
import sys
from pathlib import Path

import numpy as np

from regard.media import images
from regard.settings import settings
from regard.vision.tags import Tagger, classes, softmax

if __name__ == "__main__":
    files = sorted(Path(sys.argv[1]).glob("*.jpg"))[::2]
    number = {synset: index for index, (synset, _) in enumerate(classes())}
    true = np.array([number[file.name.split("_")[0]] for file in files])
    tagger = Tagger.load(settings())
    logits = np.stack([tagger.logits(images.decode(file.read_bytes(), minimum=1)) for file in files])

    def loss(temperature):
        return -np.log(softmax(logits / temperature)[np.arange(len(files)), true]).mean()

    temperature = min(np.arange(0.2, 3, 0.01).round(2), key=loss)
    print(f"{len(files)} photos: temperature {temperature}, loss {loss(1):.3f} at 1, {loss(temperature):.3f} there")
    data = {"temperature": temperature, "photos": [file.stem for file in files]}
    Path(__file__).with_name("calibration.json").write_text(json.dumps(data) + "\n", "utf-8")
