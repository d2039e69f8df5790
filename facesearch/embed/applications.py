"""The image networks of keras.applications, as `keras/NAME`: Keras fetches and converts them itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from facesearch.embed.conversion import run_keras, store_network
from facesearch.errors import FetchFailed, ModelError
from facesearch.models.card import Card
from facesearch.models.sources import Recipe

PREFIX = "keras/"

# Written out, since to ask Keras takes seconds; a test compares.
APPLICATIONS = (
    *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
    *(f"DenseNet{depth}" for depth in (121, 169, 201)),
    *(f"EfficientNetB{number}" for number in range(8)),
    *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
    *("InceptionResNetV2", "InceptionV3", "Xception"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
    *("NASNetMobile", "NASNetLarge"),
    *(f"ResNet{depth}{version}" for depth in (50, 101, 152) for version in ("", "V2")),
    *("VGG16", "VGG19"),
)


@dataclass(frozen=True, slots=True)
class KerasDownload:
    """Keras' own download of an application's ImageNet weights; Keras checks their digest."""

    application: str

    def __str__(self) -> str:
        return f"Keras' own download of {self.application}"

    def fetch(self, folder: Path, *, progress: bool) -> Path:
        """Have Keras fetch the weights and write plain.xml and facts.json; see `Source`."""
        del progress  # Keras draws it on a stdout that is not the user's
        try:
            run_keras("application", self.application, folder)
        except ModelError as error:
            raise FetchFailed(error.message) from error
        return folder / "facts.json"


def application_recipe(name: str) -> Recipe | None:
    """Return the recipe of `keras/NAME`; None for every other name."""
    application = name.removeprefix(PREFIX)
    if application == name or application not in APPLICATIONS:
        return None
    # Size, preprocessing and length of the vectors are known when Keras has built the network.
    card = Card(name=name, dim=1, size=(224, 224), margin=0.4, detector="haar", licence="see Keras")
    return Recipe(
        replace(card, source=f"keras.applications.{application}, ImageNet weights, no top, average pooling"),
        (KerasDownload(application),),
        partial(_build, card),
        origin="",
        by_hand=f"a .keras file of {application}",
    )


def _build(card: Card, facts: Path, folder: Path) -> Card:
    said = json.loads(facts.read_text(encoding="utf-8"))
    card = replace(
        card,
        size=tuple(said["size"]),
        color=said["color"],
        mean=tuple(said["mean"]),
        scale=tuple(said["scale"]),
        digest=said["digest"],
    )
    return replace(card, dim=store_network(facts.with_name("plain.xml"), card, folder))
