"""Pictures of pages that are the same on every machine: a font of blocks, a clock that stands still, a patient comparison.

In the font every character is the same block, and every space the same gap: "12:04" and "09:17" look alike, and no font of
the system is asked for. What is told apart are places, sizes and colours.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import newTable
from fontTools.ttLib.tables._c_m_a_p import CmapSubtable
from PIL import Image, ImageChops

if TYPE_CHECKING:
    from pathlib import Path

_UNITS = 1000
#: A character's width and a small letter's height, of 1000: lines stay apart.
_ADVANCE, _HEIGHT = 550, 520
#: Characters that are gaps. What has no width at all the browser leaves out by itself.
_SPACES = (0x20, 0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)
#: The planes of letters and of pictures.
_LAST = 0x1FFFF

#: Pictures are compared by squares of so many pixels: edges are drawn a little differently by every version of a browser.
SQUARE = 4
#: So far apart may two squares be in any channel, of 255, and be called the same.
NEAR = 24
#: So much of a picture may differ…
SHARE = 0.01
#: …and so much of any part of it, so that a small thing that is gone is found on a large page. Parts are 64 pixels wide.
PART, PART_SHARE = 16, 0.06


_SCRIPT = """
(() => {
  const file = Uint8Array.from(atob("FILE"), (letter) => letter.charCodeAt(0));
  document.fonts.add(new FontFace("Blocks", file));
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`*, *::before, *::after, *::placeholder, *::marker, *::file-selector-button {
    font-family: Blocks !important; font-synthesis: none !important; font-variant: normal !important; font-kerning: none !important;
    animation: none !important; transition: none !important; caret-color: transparent !important; scroll-behavior: auto !important;
  }`);
  document.adoptedStyleSheets.push(sheet);
  const drawn = Object.getOwnPropertyDescriptor(CanvasRenderingContext2D.prototype, "font");
  Object.defineProperty(CanvasRenderingContext2D.prototype, "font", {
    ...drawn,
    set(value) { drawn.set.call(this, value.replace(/^.*?([\\d.]+px).*$/, "$1 Blocks")); },
  });
})();
"""


@cache
def font() -> bytes:
    """The font, as a file."""
    builder = FontBuilder(_UNITS, isTTF=True)
    builder.setupGlyphOrder([".notdef", "block", "gap"])
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, _HEIGHT), (_ADVANCE, _HEIGHT), (_ADVANCE, 0)):
        pen.lineTo(corner)
    pen.closePath()
    block, gap = pen.glyph(), TTGlyphPen(None).glyph()
    builder.setupGlyf({".notdef": block, "block": block, "gap": gap})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "block", "gap"), (_ADVANCE, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-250)
    builder.setupNameTable({"familyName": "Blocks", "styleName": "Regular"})
    # Format 13: a whole range of characters has one glyph, so that all of Unicode takes a few bytes.
    every = CmapSubtable.newSubtable(13)
    every.platformID, every.platEncID, every.language = 3, 10, 0
    every.format, every.reserved, every.length, every.nGroups = 13, 0, 0, 0
    every.cmap = dict.fromkeys(range(0x20, _LAST), "block") | dict.fromkeys(_SPACES, "gap")
    builder.font["cmap"] = newTable("cmap")
    builder.font["cmap"].tableVersion, builder.font["cmap"].tables = 0, [every]
    builder.setupOS2(sTypoAscender=900, sTypoDescender=-250, usWinAscent=900, usWinDescent=250, sxHeight=_HEIGHT)
    builder.setupPost()
    made = io.BytesIO()
    builder.save(made)
    return made.getvalue()


def script() -> str:
    """What makes a page draw with it, and stand still; before the page's own scripts, so that they measure this font.

    A canvas names its fonts by itself. Nothing of this needs to be allowed by the policy: no style is written inline.
    """
    return _SCRIPT.replace("FILE", base64.b64encode(font()).decode())


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two pictures are apart. ``squares``: white where they differ."""

    share: float
    worst_part: float
    squares: Image.Image

    @property
    def is_seen(self) -> bool:
        """Whether somebody should look."""
        return self.share > SHARE or self.worst_part > PART_SHARE

    def __str__(self) -> str:
        return f"{self.share:.2%} of it differs, {self.worst_part:.0%} of its worst part"


def compare(expected: Image.Image, actual: Image.Image) -> Difference:
    """Both at a quarter of their size. A picture of another size differs wholly."""
    if expected.size != actual.size:
        return Difference(1.0, 1.0, Image.new("L", actual.size, 255))
    small = [image.convert("RGB").reduce(SQUARE) for image in (expected, actual)]
    channels = ImageChops.difference(*small).split()
    most = ImageChops.lighter(ImageChops.lighter(channels[0], channels[1]), channels[2])
    squares = most.point([255 * (level > NEAR) for level in range(256)])
    counts = squares.histogram()
    # Parts that overlap by half: a thing that lies on an edge of one lies inside another.
    worst = 0.0
    for x in (0, PART // 2):
        for y in (0, PART // 2):
            part = squares.crop((x, y, x + squares.width, y + squares.height)).reduce(PART)
            worst = max(worst, float(part.getextrema()[1]) / 255)  # type: ignore[arg-type]
    return Difference(counts[255] / sum(counts), worst, squares)


def beside(expected: Image.Image, actual: Image.Image, squares: Image.Image) -> Image.Image:
    """The picture that was expected, pale, with what differs in red."""
    pale = Image.blend(expected.convert("RGB").resize(actual.size), Image.new("RGB", actual.size, "white"), 0.6)
    pale.paste("red", mask=squares.resize(actual.size, Image.Resampling.NEAREST))
    return pale


def keep(image: Image.Image, path: Path) -> None:
    """Write a baseline: with as few colours as show no difference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for colours in (32, 64, 128, 256):
        small = image.convert("RGB").quantize(colours, dither=Image.Dither.NONE)
        if compare(small, image).share == 0:
            break
    small.save(path, optimize=True)
