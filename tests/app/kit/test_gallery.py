"""What the retrieval grid is made of: captions, colours, alt texts, pictures."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.kit import gallery, retrieved, thumbnails
from app.kit.palette import jaccard_color, loss_color
from core.data import Dataset
from core.retrieval.search import Answer, Gallery, Neighbour

CLASSES = ["cars", "grass", "sand", "trees"]
LABELS = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]], np.uint8)
IMAGES = Gallery(
    np.eye(3, dtype=np.float32), LABELS, ("a", "b", "c"), ("test",) * 3, {"a": 0, "b": 1, "c": 2}
)
FOUND = Neighbour(row=2, cosine=0.91234, jaccard=1 / 3, shared=(1,), missing=(0,), extra=(3,))


def image(neighbour: Neighbour, rank: int = 1) -> retrieved.Retrieved:
    """It at that rank of a row."""
    answer = Answer((neighbour,) * rank, np.nan, np.nan, np.nan)
    return retrieved.images(answer, IMAGES, CLASSES)[-1]


def opened(images: np.ndarray) -> Dataset:
    names = tuple(f"image{i}" for i in range(len(images)))
    return Dataset("folder", images, np.ones((len(images), 1), np.uint8), ("x",), names, {}, 0, "key")


def decoded(uri: str) -> np.ndarray:
    head, _, data = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_a_tile_says_in_words_what_it_shows() -> None:
    tile = gallery.tile(image(FOUND, 4))
    assert tile["name"] == "c"
    assert (tile["shared"], tile["missing"], tile["extra"]) == (["grass"], ["cars"], ["trees"])
    assert tile["color"] == jaccard_color(1 / 3)
    assert tile["alt"] == "Rank 4, c: Jaccard 0.33, cosine 0.912; shared grass; missing cars; extra trees"


def test_words_without_labels_are_left_out() -> None:
    same = Neighbour(row=0, cosine=1.0, jaccard=1.0, shared=(0, 2), missing=(), extra=())
    assert gallery.tile(image(same))["alt"].endswith("cosine 1.000; shared cars, sand")


def test_a_row_heads_with_the_figures_of_this_query() -> None:
    color = loss_color("macl")
    answer = Answer((FOUND, FOUND), 0.8765, 0.5, 0.25)
    drawn = gallery.drawn(retrieved.row("MACL", color, answer, IMAGES, CLASSES))
    assert drawn["facts"] == ["AP 87.6 %", "precision@2 50 %", "mean Jaccard@2 0.25"]
    assert [tile["rank"] for tile in drawn["tiles"]] == [1, 2]
    nothing = retrieved.row("MACL", color, Answer((), np.nan, np.nan, np.nan), IMAGES, CLASSES)
    assert nothing.captions == ["no image shares a label"]
    assert not retrieved.Row("MACL", color, note="no weights").captions


def test_thumbnails_look_like_the_images_and_are_small() -> None:
    ramp = np.linspace(0, 255, 320, dtype=np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), axis=-1)
    found = thumbnails.Thumbnails(opened(np.stack([image, image[::-1]])))
    small = decoded(found.uri("image1")).astype(int)
    assert small.shape == (thumbnails.EDGE, thumbnails.EDGE, 3)
    expected = np.asarray(Image.fromarray(image[::-1]).resize(small.shape[:2])).astype(int)
    assert np.abs(small - expected).mean() < 3
    assert found.uri("image0") != found.uri("image1")
    assert found.uri("unknown") == ""


def test_an_image_is_encoded_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = thumbnails.encode
    monkeypatch.setattr(thumbnails, "encode", lambda image: calls.append(1) or encode(image))
    monkeypatch.setattr(thumbnails, "KEPT", 2)
    found = thumbnails.Thumbnails(opened(np.zeros((3, 16, 16, 3), np.uint8)))
    for name in ("image0", "image0", "image1", "image0"):
        found.uri(name)
    assert len(calls) == 2
    found.uri("image2")  # image0, the oldest, goes
    found.uri("image1")
    assert len(calls) == 3
    found.uri("image0")
    assert len(calls) == 4


def test_the_component_brings_everything_along() -> None:
    folder = Path(gallery.__file__).parent
    for name in ("gallery.js", "gallery.css"):
        text = (folder / name).read_text()
        assert "http" not in text.replace('"http://www.w3.org/2000/svg"', "")
        assert "url(" not in text
        assert "innerHTML" not in text  # names come from a person's files
