"""The shipped models by name, checked to belong together. Torch is imported on use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmcourse.text2image import Painter


def load_painter(space: str = "space", generator: str = "text2image") -> Painter:
    """The text-to-image model by checkpoint names or paths.

    Raises ``CheckpointError`` where a file is missing or damaged, or where the generator was trained on another space.
    """
    from mmcourse import checkpoint
    from mmcourse.encoders import Space
    from mmcourse.text2image import Generator, Painter

    tower, G = checkpoint.load(Space, space), checkpoint.load(Generator, generator)
    wanted, have = checkpoint.card(generator).get("space"), checkpoint.verify(space)
    if wanted != have:
        raise checkpoint.CheckpointError(
            f"{generator} was trained on another space than {space} (digest {str(wanted)[:12]}, not {have[:12]}). "
            "Train it again with `mmcourse train text2image`, or fetch both from one release."
        )
    return Painter(tower, G)
