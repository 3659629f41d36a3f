"""Images of the size that a policy looks at, from those of any camera."""

import numpy as np
from PIL import Image

LARGEST_PX = 256  # of a side: a larger image costs the frozen encoders more than it shows of a table
MULTIPLE_PX = 16  # the coarsest stride of the vision encoder
DEFAULT_SIZE = (96, 96)  # what the shipped fusion was pretrained on


def policy_image_size(recorded: tuple[int, int]) -> tuple[int, int]:
    """Return height and width for a new policy: as recorded, or `DEFAULT_SIZE` where that does not suit the encoder."""
    suits = all(side <= LARGEST_PX and side % MULTIPLE_PX == 0 for side in recorded)
    return recorded if suits else DEFAULT_SIZE


def centre(whole: tuple[int, ...], size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of an image of `whole` (height, width) that have the aspect of `size`, around its
    centre."""
    height, width = whole
    share = min(height / size[0], width / size[1])
    h, w = round(size[0] * share), round(size[1] * share)
    top, left = (height - h) // 2, (width - w) // 2
    return slice(top, top + h), slice(left, left + w)


def resize(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Crop images (T, H, W, 3) around their centre to the aspect of `size` (height, width) and scale them to it.

    As the cameras of the real arm do it (`real.cameras.camera.fit`). Images of that size are returned as they are.
    """
    height, width = images.shape[1:3]
    if (height, width) == tuple(size):
        return images
    rows, columns = centre((height, width), size)
    box = (columns.start, rows.start, columns.stop, rows.stop)
    scaled = [Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BOX, box=box) for image in images]
    return np.stack([np.asarray(image) for image in scaled])
