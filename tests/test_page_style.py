"""The colours and texts of pages and pictures."""

import itertools
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from pneumo_jax.pages import parts
from pneumo_jax.pages.style import CLASS_COLOURS, COLOURS, drawing, new_picture

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    'usual': np.eye(3),
    'protanopia': [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    'deuteranopia': [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    'tritanopia': [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
# sRGB, D65.
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(colour, vision):
    """CIELAB of a colour as somebody of a colour vision sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(vision) @ linear, 0, 1) / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def page_colours():
    """The variables of the page's style, in the light and in the dark."""
    blocks = re.findall(r':root \{(.*?)\}', parts._STYLE, re.DOTALL)
    return [dict(re.findall(r'--([\w-]+): (#\w+)', block)) for block in blocks[:2]]


@pytest.mark.parametrize('vision', VISIONS)
@pytest.mark.parametrize('dark', [False, True])
def test_classes_are_told_apart_by_readers_of_every_colour_vision(vision, dark):
    colours = page_colours()[dark]
    seen = {name: lab(colours[key], VISIONS[vision]) for name, key in CLASS_COLOURS.items()}
    for (one, a), (other, b) in itertools.combinations(seen.items(), 2):
        # 2.3 is a just noticeable difference of neighbouring fields; lines and squares need more.
        assert np.linalg.norm(a - b) > 20, (one, other)


def test_pictures_have_the_colours_of_the_page():
    light, _ = page_colours()
    for name, colour in COLOURS.items():
        assert np.allclose(to_rgb(light[name]), to_rgb(colour)), name


def test_names_out_of_files_are_no_formulas(tmp_path):
    with drawing():
        picture, (axes,) = new_picture(2, 2)
        axes.set_title('$\\frac{ and $x$')
        picture.savefig(tmp_path / 'picture.svg')
    assert '$\\frac{ and $x$' in (tmp_path / 'picture.svg').read_text()
