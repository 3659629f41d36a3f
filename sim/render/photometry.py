"""Light for the Filament renderer: from MuJoCo's coefficients to lux, and from linear light to an image."""

from pathlib import Path

import mujoco
import mujoco.studio  # on import it tells MuJoCo where Filament's materials are
import numpy as np
from mujoco import mjrf

SHADOW_MAP_PX = 1024
# A camera at f/16, 1/125 s and ISO 100 (Filament's) shows a white matte surface under this light as 1.0:
# luminance = illuminance / pi, exposure = 1 / (1.2 * 2^EV) with EV = log2(16^2 * 125).
WHITE_LUX = np.pi * 1.2 * 16.0**2 * 125.0
KEY_GAIN, ENVIRONMENT_GAIN = 1.0, 0.2  # of MuJoCo's light coefficients; chosen by eye, see `Lights`


class Lights:
    """The model's lights, and an environment in place of MuJoCo's ambient light and headlight.

    MuJoCo's coefficients know no distance and add up in display values; here a coefficient of 1 is the light
    that shows a white surface in the middle of the scene as `KEY_GAIN`, falling off as real light does.
    """

    def __init__(self, context: mjrf.Context, scene: mjrf.Scene, resources: mjrf.ModelResources, model: mujoco.MjModel):
        self._model, self._scene = model, scene
        self._lights = mjrf.ModelLights(scene, resources)  # also hangs up the sky
        self._sky = _environment_texture(context)
        self._environment = context.create_light(
            mjrf.LightParams(type=mjrf.LightType.LIGHT_IMAGE, texture=self._sky, intensity=0.0)
        )
        scene.add_light(self._environment)
        for i in range(model.nlight):
            self._lights.get_light(i).set_shadow_map_size(SHADOW_MAP_PX)

    def update(self, data: mujoco.MjData) -> None:
        """Take up the lights: where they are is in `data`, how strong they are in the model."""
        model, head = self._model, self._model.vis.headlight
        self._lights.update(data)
        for i in range(model.nlight):
            light = self._lights.get_light(i)
            distance_m = np.linalg.norm(data.light_xpos[i] - model.stat.center)
            directional = model.light_type[i] == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
            strength = KEY_GAIN * float(model.light_diffuse[i].max())  # of the colour Filament takes the hue alone
            light.set_intensity(strength * WHITE_LUX * (1.0 if directional else distance_m**2))  # lux or candela
            light.set_cast_shadow(bool(model.light_castshadow[i]))
        fill = head.ambient.mean() + (head.diffuse.mean() if head.active else 0.0)
        self._environment.set_intensity(ENVIRONMENT_GAIN * WHITE_LUX * fill)

    def leave(self) -> None:
        self._scene.remove_light(self._environment)
        del self._environment, self._sky, self._lights


def _environment_texture(context: mjrf.Context) -> mjrf.Texture:
    """Return the surroundings that light the scene softly and that shiny things mirror: the image MuJoCo brings."""
    image = (Path(mujoco.studio.__file__).parent / "assets" / "ibl.ktx").read_bytes()
    texture = context.create_texture(
        mjrf.TextureConfig(
            width=len(image),
            height=0,
            format=mjrf.PixelFormat.PIXEL_FORMAT_KTX,
            color_space=mjrf.ColorSpace.COLORSPACE_AUTO,
            sampler_type=mjrf.SamplerType.TEXTURE_CUBE,
        )
    )
    data = mjrf.TextureData()
    data.set_image(image)
    texture.upload(data)
    return texture


def develop(linear: np.ndarray) -> np.ndarray:
    """Return uint8 image of linear light (..., 3) in 0..1.

    Khronos PBR Neutral tone mapping: what a matte surface mirrors (4 %) is taken off again so that colours
    stay as they are named, and the brightest parts are compressed. Then the transfer curve of IEC 61966-2-1.
    """
    low = linear.min(-1, keepdims=True)
    colour = linear - np.where(low < 0.08, low - 6.25 * low * low, 0.04)
    start = 0.8 - 0.04
    peak = colour.max(-1, keepdims=True)
    room = 1.0 - start
    pressed = 1.0 - room * room / (np.maximum(peak, start) + room - start)
    mixed = 1.0 / (0.15 * (peak - pressed) + 1.0)
    bright = colour * (pressed / np.maximum(peak, 1e-6)) * mixed + pressed * (1.0 - mixed)
    colour = np.where(peak < start, colour, bright).clip(0.0, 1.0)
    encoded = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
    return (encoded * 255 + 0.5).astype(np.uint8)
