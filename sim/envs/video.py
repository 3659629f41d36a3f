"""Videos of episodes for people: both cameras side by side, larger and with softer edges than a policy sees."""

from collections.abc import Callable
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from PIL import Image, ImageDraw

from sim.core.errors import UserError, reason
from sim.core.estimate import Estimate
from sim.core.files import write_atomic
from sim.envs.regions import draw_regions
from sim.envs.simulation import Simulation
from sim.episode.loop import Step
from sim.render.renderer import make_renderer
from sim.scene.build import RenderConfig

MARGIN_PX = 6
PRETTY = RenderConfig(height=320, width=320, shadow_size=2048, samples=4, slices=28)


class VideoRecorder:
    """Draws every step of an episode in a world; satisfies `sim.episode.loop.Recorder`."""

    def __init__(
        self, world: Simulation, render: RenderConfig = PRETTY, estimates: Callable[[], list[Estimate]] = list,
        caption: Callable[[], str] = str,
    ):  # fmt: skip
        """estimates: where the agent believes that things are; they are drawn as circles. caption: written below."""
        self._world, self._estimates, self._caption = world, estimates, caption
        self._renderer = make_renderer(world.scene, render)
        self.frames: list[np.ndarray] = []

    def add(self, step: Step) -> None:
        self.draw()

    def draw(self) -> None:
        """Draw one more frame: the world as it stands."""
        qpos, estimates = self._world.snapshot(), self._estimates()
        cameras = self._world.robot.camera_names
        images = [draw_regions(self._renderer.render(c, qpos), self._world, c, estimates) for c in cameras]
        self.frames.append(with_caption(np.hstack(images), self._caption()))

    def save(self, path: Path) -> None:
        """Write the video as h264 mp4 and begin anew. UserError where it cannot be written."""
        try:
            data = encoded(self.frames, self._world.robot.control_hz, path.suffix or ".")
        except (OSError, ValueError) as error:  # FFmpeg's errors are among them
            raise UserError(f"cannot write {path}: {reason(error)}; expected a file name ending in .mp4") from error
        write_atomic(path, data)
        self.frames = []

    def close(self) -> None:
        self._renderer.close()


def with_caption(image: np.ndarray, words: str) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) with words in its lower left corner, as it is where there are none."""
    if not words:
        return image
    picture = Image.fromarray(image)
    corner = (MARGIN_PX, image.shape[0] - MARGIN_PX)
    ImageDraw.Draw(picture).text(corner, words, "white", anchor="ld", stroke_width=2, stroke_fill="black")
    return np.asarray(picture)


def encoded(frames: list[np.ndarray], fps: int, extension: str = ".mp4") -> bytes:
    """Return uint8 (H, W, 3) frames as a video that browsers play. OSError or ValueError for a wrong extension."""
    how = {"plugin": "pyav", "codec": "libx264", "out_pixel_format": "yuv420p"}
    data = imageio.imwrite("<bytes>", frames, extension=extension, fps=fps, **how)
    assert data is not None
    return data
