"""DetectLabels: what a picture shows, and its quality and colours.

What AWS's documentation leaves open is decided so: a parameter of a feature that is not asked for is an error,
for AWS calls it invalid; with inclusion filters of both kinds a label passes that either names, and exclusion wins
over inclusion; MaxLabels above 1,000 means 1,000, and 0 means none; instances below MinConfidence are left out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from regard.operations import pictures, shapes
from regard.operations.context import Context, Request, Response
from regard.operations.pictures import Picture
from regard.vision import labels
from regard.vision.colour import MAX_DOMINANT_COLOURS, Colour, Region, colours_in, properties
from regard.vision.labels import Instance, Label
from regard.vision.taxonomy import Concept
from regard.wire.errors import InvalidParameterException

MODEL_VERSION = "coco80-imagenet1k-1.0"  # what the networks can tell apart, and the version of labels.csv
DEFAULT_MIN_CONFIDENCE = 55.0
MAX_LABELS = 1000


def detect_labels(context: Context, request: Request) -> Response:
    features = frozenset(request.get("Features") or ("GENERAL_LABELS",))
    _require(request, "MaxLabels", "GENERAL_LABELS", features)
    _require(request, "MinConfidence", "GENERAL_LABELS", features)
    settings = request.get("Settings", {})
    _require(settings, "GeneralLabels", "GENERAL_LABELS", features)
    _require(settings, "ImageProperties", "IMAGE_PROPERTIES", features)
    picture = pictures.load(context, request["Image"])
    least = request.get("MinConfidence", DEFAULT_MIN_CONFIDENCE)
    if "GENERAL_LABELS" in features:
        found = context.services.vision.labels(picture.pixels)
        most = min(request.get("MaxLabels", MAX_LABELS), MAX_LABELS)
        shown = chosen(found, least, settings.get("GeneralLabels", {}))[:most]
    else:
        things = context.services.vision.objects.detect(picture.pixels, tiles=context.services.settings.tiles)
        found, shown = labels.merge(things, (), {}), []
    colours = None
    if "IMAGE_PROPERTIES" in features:
        colours = settings.get("ImageProperties", {}).get("MaxDominantColors", MAX_DOMINANT_COLOURS)
    return {
        "Labels": [_label(label, picture, least, colours) for label in shown],
        "LabelModelVersion": MODEL_VERSION,
        "ImageProperties": None if colours is None else _image_properties(found, picture, colours),
    }


def _require(members: Mapping[str, Any], name: str, feature: str, features: frozenset[str]) -> None:
    if name in members and feature not in features:
        raise InvalidParameterException(f"{name} is only valid when {feature} is among the Features.")


def chosen(found: Sequence[Label], least: float, filters: Mapping[str, list[str]]) -> list[Label]:
    """The labels of at least so many percent that GeneralLabelsSettings let pass, in the same order."""
    return [label for label in found if shapes.sent(label.confidence) >= least and _passes(label.concept, filters)]


def _passes(concept: Concept, filters: Mapping[str, list[str]]) -> bool:
    """Whether GeneralLabelsSettings let a label pass: exact names, upper and lower case told apart."""
    included, excluded, categories_included, categories_excluded = (
        frozenset(filters.get(f"Label{kind}Filters", ()))
        for kind in ("Inclusion", "Exclusion", "CategoryInclusion", "CategoryExclusion")
    )
    categories = frozenset(concept.categories)
    if concept.name in excluded or categories & categories_excluded:
        return False
    return not (included or categories_included) or concept.name in included or bool(categories & categories_included)


def _label(label: Label, picture: Picture, least: float, colours: int | None) -> dict[str, Any]:
    return described(label.concept, label.confidence) | {
        "Instances": [_instance(instance, picture, colours) for instance in instances(label, least)]
    }


def described(concept: Concept, confidence: float) -> dict[str, Any]:
    """A Label without its Instances."""
    return {
        "Name": concept.name,
        "Confidence": confidence,
        "Parents": _names(concept.parents),
        "Aliases": _names(concept.aliases),
        "Categories": _names(concept.categories),
    }


def instances(label: Label, least: float) -> list[Instance]:
    """Those of at least so many percent."""
    return [instance for instance in label.instances if shapes.sent(instance.confidence) >= least]


def _names(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"Name": name} for name in names]


def _instance(instance: Instance, picture: Picture, colours: int | None) -> dict[str, Any]:
    return {
        "BoundingBox": shapes.bounding_box(shapes.ratios(instance.box, picture.size)),
        "Confidence": instance.confidence,
        "DominantColors": [] if colours is None else _colours(colours_in(picture.pixels, instance.box, colours)),
    }


def _image_properties(found: list[Label], picture: Picture, colours: int) -> dict[str, Any]:
    """The foreground is what surely is a thing; where there is none, all is background."""
    boxes = [
        instance.box
        for label in found
        for instance in label.instances
        if shapes.sent(instance.confidence) >= DEFAULT_MIN_CONFIDENCE
    ]
    measured = properties(picture.pixels, boxes, colours)
    whole = _region(measured.whole)
    whole["Quality"]["Contrast"] = measured.whole.quality.contrast
    return whole | {"Foreground": _region(measured.foreground), "Background": _region(measured.background)}


def _region(region: Region | None) -> dict[str, Any]:
    """A part of a picture; of one that there is nothing of, no colours."""
    if region is None:
        return {"DominantColors": []}
    return {
        "Quality": {"Brightness": region.quality.brightness, "Sharpness": region.quality.sharpness},
        "DominantColors": _colours(region.colours),
    }


def _colours(colours: tuple[Colour, ...]) -> list[dict[str, Any]]:
    return [
        {
            "Red": colour.red,
            "Green": colour.green,
            "Blue": colour.blue,
            "HexCode": colour.hex,
            "CSSColor": colour.css_name,
            "SimplifiedColor": colour.simplified,
            "PixelPercent": colour.percent,
        }
        for colour in colours
    ]
