"""Labels in JSON as rows: a mapping, records, JSON lines, what pandas writes, or COCO."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from core.data.image_names import ImageNames
from core.errors import MaclError

COCO = ("images", "annotations", "categories")


def json_rows(text: str, path: str, names: ImageNames) -> Iterator[list[Any]]:
    """The header, then one row per image or record.

    Raises:
        MaclError: If it is no table of labels.
        ValueError: If it is no JSON.
    """
    content = _unwrapped(_parsed(text))
    if isinstance(content, dict):
        yield from _of_mapping(content, path, names)
    elif isinstance(content, list) and content and all(isinstance(row, list) for row in content):
        yield from content
    elif isinstance(content, list) and all(isinstance(record, dict) for record in content):
        columns = list(dict.fromkeys(key for record in content for key in record))
        yield columns
        yield from ([record.get(column) for column in columns] for record in content)
    else:
        raise MaclError(
            f"the label table {path} cannot be read: need a mapping from images to labels, a list of "
            "records, or images with annotations and categories as in COCO"
        )


def _parsed(text: str) -> Any:
    """The content; of JSON lines the list of them."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            records = [json.loads(line) for line in lines]
        except json.JSONDecodeError:
            records = []
        if len(records) < 2:
            raise
        return records


def _unwrapped(content: Any) -> Any:
    """The one list of records in a mapping that has other things beside it."""
    if isinstance(content, dict) and not content.keys() >= {*COCO} and "columns" not in content:
        lists = [value for value in content.values() if _are_records(value)]
        if len(lists) == 1:
            return lists[0]
    return content


def _are_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(record, dict) for record in value)


def _of_mapping(content: dict[str, Any], path: str, names: ImageNames) -> Iterator[list[Any]]:
    if content.keys() >= {*COCO}:
        yield from _coco(content, path)
        return
    if isinstance(content.get("columns"), list) and isinstance(content.get("data"), list):  # pandas, "split"
        yield content["columns"]
        yield from content["data"]
        return
    are_images = any(map(names.may_mean, content))
    if not are_images and (named := _by_class(content, names)):
        content = named
    elif content and all(isinstance(value, dict) for value in content.values()):
        first = next(iter(content.values()))
        if not are_images and all(value.keys() == first.keys() for value in content.values()):
            yield list(content)  # pandas, by columns
            yield from ([column[row] for column in content.values()] for row in first)
            return
        columns = list(dict.fromkeys(key for value in content.values() for key in value))
        yield ["image", *columns]
        yield from ([name, *(value.get(key) for key in columns)] for name, value in content.items())
        return
    yield ["image", "labels"]
    yield from ([name, value] for name, value in content.items())


def _by_class(content: dict[str, Any], names: ImageNames) -> dict[str, Any]:
    """A mapping from classes to images the other way round; empty if it is none."""
    labels: dict[str, list[str]] = {}
    for label, images in content.items():
        if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
            return {}
        for image in images:
            labels.setdefault(image, []).append(label)
    return labels if any(map(names.may_mean, labels)) else {}


def _coco(content: dict[str, Any], path: str) -> Iterator[list[Any]]:
    """The categories that each image has annotations of."""
    try:
        name_of = {category["id"]: str(category["name"]) for category in content["categories"]}
        file_of = {image["id"]: image["file_name"] for image in content["images"]}
        pairs = [(one["image_id"], one["category_id"]) for one in content["annotations"]]
    except KeyError as error:
        raise MaclError(
            f"the label table {path} looks like COCO, but {error} is missing in an entry: need id and "
            "file_name of images, id and name of categories, image_id and category_id of annotations"
        ) from None
    labels: dict[Any, dict[str, None]] = {image: {} for image in file_of}
    for image, category in pairs:
        if category not in name_of:
            raise MaclError(
                f"the label table {path} has an annotation of category {category}, which is not among "
                "its categories: add it there"
            )
        if image in labels:
            labels[image][name_of[category]] = None
    yield ["image", "labels"]
    yield from ([file_of[image], list(named)] for image, named in labels.items())
