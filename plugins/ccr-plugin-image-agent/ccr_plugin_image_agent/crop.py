"""Cutting a region out of a picture, with Pillow, where that is installed."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

from ccr_core import JSON


class CannotCrop(Exception):
    """Why a region could not be cut out; it is put into words then."""


def crop(source: JSON, region: Mapping[str, Any]) -> JSON:
    """The source of an image block with the region ``x``, ``y``, ``w``, ``h`` (``units``: ``px`` or ``pct``).

    What lies outside the picture is left out.  A JPEG stays one, all else becomes a PNG.
    """
    try:
        from PIL import Image
    except ImportError:
        raise CannotCrop("Pillow is not installed: pip install ccr-plugin-image-agent[crop]") from None
    if source.get("type") != "base64":
        raise CannotCrop("only pictures that are part of the request can be cut")
    try:
        x, y, w, h = (float(region[side]) for side in ("x", "y", "w", "h"))
    except (KeyError, TypeError, ValueError):
        raise CannotCrop("x, y, w and h must be numbers") from None
    try:
        with Image.open(io.BytesIO(base64.b64decode(str(source.get("data") or "")))) as picture:
            width, height = picture.size
            if region.get("units") == "pct":
                x, w, y, h = x * width / 100, w * width / 100, y * height / 100, h * height / 100
            box = (max(0, round(x)), max(0, round(y)), min(width, round(x + w)), min(height, round(y + h)))
            if box[0] >= box[2] or box[1] >= box[3]:
                raise CannotCrop(f"it is outside the picture of {width} x {height} pixels")
            cut = picture.crop(box)
            kind = "JPEG" if picture.format == "JPEG" else "PNG"
            if kind == "PNG" and cut.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
                cut = cut.convert("RGB")
            out = io.BytesIO()
            cut.save(out, kind, **({"quality": 90} if kind == "JPEG" else {}))
    except CannotCrop:
        raise
    except (OSError, ValueError, OverflowError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise CannotCrop(f"the picture cannot be read: {error}") from None
    data = base64.b64encode(out.getvalue()).decode()
    return {"type": "base64", "media_type": f"image/{kind.lower()}", "data": data}
