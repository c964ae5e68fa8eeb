"""Pictures in a request: PNG or JPEG files, base64, nested lists or `.npy`, to arrays and then to the model's input.

Apart since every task that looks at pictures takes them the same way. A request's samples keep the client's own size.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.config import Image, ServingConfig
from serving.errors import ModelError, RequestError
from serving.tasks.arrays import parse_npy
from serving.tasks.classification import Arrays
from serving.tasks.request import (
    JSON,
    NPY,
    Body,
    Request,
    check_count,
    media_type,
    parse_base64,
    parse_json,
    unsupported,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

IMAGE_TYPES = ("image/png", "image/jpeg", "application/x-image")
CONTENT_TYPES = (*IMAGE_TYPES, JSON, NPY)
REQUIREMENTS = ("numpy", "onnxruntime", "orjson", "pillow")

MAX_PIXELS = 32_000_000
"""Of one request: a few kilobytes of PNG can claim gigabytes."""

Pixels = np.ndarray[Any, Any]


def encode(samples: Sequence[Pixels], config: ServingConfig) -> Arrays:
    """uint8 arrays (H, W) or (H, W, 3) of any size to `pixels`, float32 (batch, channels, height, width).

    Converted to the mode, resized bilinearly with antialiasing, scaled to 0…1, minus `mean`, divided by `std`.
    """
    image = _section(config)
    batch = np.stack([_fit(sample, image) for sample in samples]).astype(np.float32)
    batch = batch[:, None] if image.mode == "L" else batch.transpose(0, 3, 1, 2)
    mean = np.array(image.mean, np.float32).reshape(1, -1, 1, 1)
    std = np.array(image.std, np.float32).reshape(1, -1, 1, 1)
    return {"pixels": np.ascontiguousarray((batch / np.float32(255) - mean) / std)}


def decode_request(
    body: Body, content_type: str | None, config: ServingConfig, known: tuple[str, ...] = ("top_k",)
) -> Request:
    """The pictures of a request as uint8 arrays, upright and in the model's mode. `known` are the parameters that the
    task has. Raises RequestError."""
    kind = media_type(content_type)
    if kind in IMAGE_TYPES:
        return Request([_decode_files([body], config)[0]], single=True)
    if kind == NPY:
        return _from_array(parse_npy(body), {}, config)
    if kind != JSON:
        raise unsupported(content_type, CONTENT_TYPES)
    inputs, parameters = parse_json(body, known)
    if isinstance(inputs, str):
        return Request(_decode_files([parse_base64(inputs, "inputs")], config), True, parameters)
    if not isinstance(inputs, list):
        raise RequestError(400, "inputs must be base64, a list of base64, or nested lists of 0…255")
    if inputs and all(isinstance(one, str) for one in inputs):
        check_count(inputs)
        files = [parse_base64(one, f"inputs[{index}]") for index, one in enumerate(inputs)]
        return Request(_decode_files(files, config), False, parameters)
    try:
        array = np.array(inputs)
    except ValueError:
        raise RequestError(400, "inputs must be a full array; its rows differ in length") from None
    if array.dtype.kind not in "iu" or (array.size and (array.min() < 0 or array.max() > 255)):
        raise RequestError(400, "inputs must hold integers from 0 to 255")
    return _from_array(array.astype(np.uint8), parameters, config)


def input_axes(config: ServingConfig) -> dict[str, dict[int, str]]:
    return {"pixels": {0: "batch"}}


def _section(config: ServingConfig) -> Image:
    if config.image is None:
        raise ModelError("slipway.json: image: is missing")
    return config.image


def _fit(sample: Pixels, image: Image) -> Pixels:
    """One sample in the model's mode and size, still uint8."""
    if sample.dtype != np.uint8 or sample.ndim not in (2, 3) or (sample.ndim == 3 and sample.shape[2] != 3):
        raise ValueError(f"an image must be uint8 (H, W) or (H, W, 3), not {sample.dtype} {sample.shape}")
    wanted = image.size if image.mode == "L" else (*image.size, 3)
    if sample.shape == wanted:
        return sample
    from PIL import Image as pillow

    picture = pillow.fromarray(sample)
    if picture.mode != image.mode:
        picture = picture.convert(image.mode)
    if picture.size != image.size[::-1]:
        picture = picture.resize(image.size[::-1], pillow.Resampling.BILINEAR)
    return np.asarray(picture)


def _from_array(array: Pixels, parameters: dict[str, Any], config: ServingConfig) -> Request:
    image = _section(config)
    axes = 2 if image.mode == "L" else 3
    wanted = "(height, width)" if axes == 2 else "(height, width, 3)"
    if array.dtype != np.uint8:
        raise RequestError(400, f"the array must be uint8, not {array.dtype}")
    if array.ndim not in (axes, axes + 1) or 0 in array.shape or (axes == 3 and array.shape[-1] != 3):
        raise RequestError(400, f"the array must be {wanted}, or a batch of them, not of shape {array.shape}")
    single = array.ndim == axes
    samples = [array] if single else list(array)
    check_count(samples)
    return Request(samples, single, parameters)


def _decode_files(files: Sequence[Body], config: ServingConfig) -> list[Pixels]:
    """PNG or JPEG files to uint8 arrays in the model's mode, turned upright by their EXIF orientation."""
    from PIL import Image as pillow
    from PIL import ImageOps, UnidentifiedImageError

    mode = _section(config).mode
    samples = []
    budget = MAX_PIXELS
    for body in files:
        try:
            if isinstance(body, str):
                raise UnidentifiedImageError
            with pillow.open(io.BytesIO(body), formats=("PNG", "JPEG")) as picture:
                budget -= picture.width * picture.height
                if budget < 0:
                    raise pillow.DecompressionBombError
                upright = ImageOps.exif_transpose(picture)
                if upright.mode.startswith("I"):  # 16-bit grey, which convert() would clip instead of scale
                    upright = pillow.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
                samples.append(np.asarray(upright.convert(mode)))
        except UnidentifiedImageError:
            raise RequestError(400, "the body is not a PNG or JPEG image") from None
        except (pillow.DecompressionBombError, pillow.DecompressionBombWarning):
            raise RequestError(400, f"the images of one request may have {MAX_PIXELS} pixels in total") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow's ways to say that a file is damaged
            raise RequestError(400, f"the image is damaged: {error!s:.200}") from None
    return samples
