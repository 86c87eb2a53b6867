"""Phantom chest films: drawn from a few dozen numbers, not from any person.

A film is a projection in rough outline: the attenuation of body, lungs, heart, ribs and findings
is added up on a grid in body coordinates (u to the patient's left = picture right, v downward,
spine at u = 0, one unit = half a film side at scale 1) and passed through the film's tone curve.
``plan_film`` draws what a film shows, ``render`` draws the film: the same plan without its
opacities gives the same film without them, noise included.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy import ndimage

from data_prep.phantom_body import GRID, Body, smooth_noise

__all__ = [
    'CLASS_NAMES',
    'FILM_SIZE',
    'FilmPlan',
    'Opacity',
    'Person',
    'PhantomFilm',
    'make_film',
    'make_person',
    'plan_film',
    'render',
]

FILM_SIZE = 1024
CLASS_NAMES = ('Normal', 'No Lung Opacity / Not Normal', 'Lung Opacity')

# As in RSNA, where 38 % of AP and 9 % of PA films are positive; raised so that small sets have
# enough of them.
_POSITIVE_SHARE = {'AP': 0.46, 'PA': 0.17}
_NOT_NORMAL_SHARE = {'AP': 0.37, 'PA': 0.35}
_BOX_COUNT_SHARES = (0.43, 0.54, 0.03)
_FINDINGS = {
    'large_heart': 0.22,
    'nodule': 0.16,
    'device': 0.22,
    'hyperinflation': 0.12,
    'scoliosis': 0.1,
    'pleural_line': 0.09,
    'effusion': 0.09,
}
# Findings that come along with opacities too, so that none of them tells the classes apart.
_COMPANIONS = ('large_heart', 'device', 'scoliosis', 'effusion')
# An opacity's box holds what is denser than this share of its peak.
_VISIBLE_SHARE = 0.3
_LETTERS = {
    'L': ('1....', '1....', '1....', '1....', '1....', '1....', '11111'),
    'R': ('1111.', '1...1', '1...1', '1111.', '1.1..', '1..1.', '1...1'),
}


@dataclasses.dataclass(frozen=True)
class Person:
    """Somebody's anatomy: the same in all of her films. Lengths in body units."""

    sex: str
    age: int
    bedridden: bool
    frailty: float
    chest: float
    lung_height: float
    left_dome_drop: float
    heart: float
    aorta: float
    fat: float
    breast: float
    rib_spacing: float
    rib_slope: float
    rib_weight: float
    clavicle_tilt: float
    bend: float
    texture_seed: int


@dataclasses.dataclass(frozen=True)
class Opacity:
    """One opacity: the lung it lies in, where between apex and base, how large and dense."""

    left: bool
    heights: tuple[float, float]
    half_width: float
    half_height: float
    strength: float
    seed: int


@dataclasses.dataclass(frozen=True)
class FilmPlan:
    """Everything that ``render`` needs; ``noise_seed`` covers grain and what is left to chance."""

    person: Person
    view: str
    class_id: int
    findings: tuple[str, ...]
    opacities: tuple[Opacity, ...]
    shift: tuple[float, float]
    angle: float
    scale: float
    inspiration: float
    exposure: float
    gamma: float
    scatter: float
    white: float
    grain: float
    blur: float
    arm_spread: float
    gas: bool
    border: tuple[int, int, int, int]
    marker: str
    noise_seed: int


@dataclasses.dataclass(frozen=True)
class PhantomFilm:
    """A film and its truth.

    pixels: uint8 [1024,1024]; boxes: float32 [n,4], (x, y, width, height) in film pixels;
    class_id indexes ``CLASS_NAMES``; lungs: bool [512,512], the lung fields at half size.
    """

    pixels: np.ndarray
    boxes: np.ndarray
    class_id: int
    view: str
    lungs: np.ndarray


def make_person(rng: np.random.Generator) -> Person:
    """Draws a person."""
    sex = 'M' if rng.random() < 0.56 else 'F'
    age = int(np.clip(rng.normal(48, 17), 8, 92))
    build = rng.normal(0, 1)
    return Person(
        sex=sex,
        age=age,
        bedridden=bool(rng.random() < 0.44),
        frailty=rng.uniform(0.7, 1.3),
        chest=(0.71 if sex == 'M' else 0.66) + 0.025 * build,
        lung_height=rng.uniform(0.98, 1.28),
        left_dome_drop=rng.uniform(0.02, 0.1),
        heart=rng.uniform(0.9, 1.12) + 0.002 * (age - 48),
        aorta=rng.uniform(0.7, 1.2) + 0.006 * (age - 48),
        fat=max(0.02, 0.1 + 0.05 * rng.normal() + 0.02 * build),
        breast=rng.uniform(0.3, 1.0) if sex == 'F' and age > 14 else 0.0,
        rib_spacing=rng.uniform(0.135, 0.165),
        rib_slope=rng.uniform(0.14, 0.3),
        rib_weight=rng.uniform(0.7, 1.3),
        clavicle_tilt=rng.uniform(-0.02, 0.16),
        bend=rng.normal(0, 0.012),
        texture_seed=int(rng.integers(2**32)),
    )


def make_film(rng: np.random.Generator, person: Person) -> PhantomFilm:
    """Draws one film of a person: ``render(plan_film(rng, person))``."""
    return render(plan_film(rng, person))


def plan_film(rng: np.random.Generator, person: Person) -> FilmPlan:
    """Draws view, class, findings, pose and exposure of one film of a person."""
    view = 'AP' if rng.random() < (0.8 if person.bedridden else 0.2) else 'PA'
    positive = _POSITIVE_SHARE[view] * person.frailty
    shares = (1 - positive - _NOT_NORMAL_SHARE[view], _NOT_NORMAL_SHARE[view], positive)
    class_id = int(rng.choice(3, p=shares))
    portable = view == 'AP'
    return FilmPlan(
        person=person,
        view=view,
        class_id=class_id,
        findings=_draw_findings(rng, class_id),
        opacities=_draw_opacities(rng) if class_id == 2 else (),
        shift=(rng.normal(0, 0.035), rng.normal(0.0, 0.05) + 0.06 * portable),
        angle=rng.normal(0, 0.05 if portable else 0.02),
        scale=rng.uniform(0.88, 1.12),
        inspiration=rng.uniform(0.72, 0.95) if portable else rng.uniform(0.9, 1.12),
        exposure=rng.uniform(1.7, 3.4),
        gamma=rng.uniform(0.85, 1.35),
        scatter=rng.uniform(0.05, 0.35) if portable else rng.uniform(0, 0.18),
        white=rng.uniform(210, 255),
        grain=rng.uniform(1.4, 3.2) if portable else rng.uniform(0.9, 2.4),
        blur=rng.uniform(0.5, 1.3) if portable else rng.uniform(0.3, 0.8),
        arm_spread=rng.uniform(0.0, 0.35),
        gas=bool(rng.random() < 0.5),
        border=_draw_border(rng),
        marker=str(rng.choice(['L', 'R'], p=[0.75, 0.25])),
        noise_seed=int(rng.integers(2**32)),
    )


def render(plan: FilmPlan) -> PhantomFilm:
    """Draws a plan; the same plan gives the same bytes."""
    texture = np.random.default_rng(plan.person.texture_seed)
    chance = np.random.default_rng(plan.noise_seed)
    body = Body(plan)
    field = body.lung_field()
    lungs = field > 0.4
    air = field * (1 - 0.92 * body.heart())
    air *= 1 + 0.09 * smooth_noise(texture, 24) + 0.06 * smooth_noise(chance, 6)
    vessels, line = body.vessels(texture) * field, 0
    if 'pleural_line' in plan.findings:
        vessels, line = body.collapse(vessels, chance)
    opaque, boxes = _opacities(plan, body, air, lungs)
    attenuation = body.soft_tissue() - 0.5 * air * (1 - opaque)
    attenuation += 0.16 * vessels * (1 - 0.6 * opaque) + line
    attenuation += body.bones() + body.extras(chance, lungs)
    pixels = _expose(plan, attenuation, body.tissue, chance)
    return PhantomFilm(pixels, boxes, plan.class_id, plan.view, lungs)


def _opacities(plan, body, air, lungs):
    """Share of the air that is filled, float32 [512,512], and the boxes, float32 [n,4]."""
    filled = np.zeros_like(air)
    boxes = []
    for opacity in plan.opacities:
        rng = np.random.default_rng(opacity.seed)
        side = (body.left > 0.5) == opacity.left
        # Flat indices run from apex to base, so a share of them is a height in the lung.
        places = np.flatnonzero(lungs & side & (air > 0.45))
        place = places[int(rng.uniform(*opacity.heights) * places.size)]
        row, column = np.divmod(place, GRID)
        u0, v0 = body.u[row, column], body.v[row, column]
        own = np.zeros_like(air)
        for _ in range(rng.integers(3, 7)):
            du = body.u - (u0 + opacity.half_width * rng.uniform(-0.55, 0.55))
            dv = body.v - (v0 + opacity.half_height * rng.uniform(-0.55, 0.55))
            spread = rng.uniform(0.35, 0.7, 2) * (opacity.half_width, opacity.half_height)
            r = (du * du) * float(spread[0] ** -2) + (dv * dv) * float(spread[1] ** -2)
            own = np.maximum(own, np.exp(-r * np.sqrt(r)) * rng.uniform(0.75, 1))
        mottle = 0.75 + 0.15 * smooth_noise(rng, 20) + 0.1 * smooth_noise(rng, 64)
        own *= np.clip(mottle, 0.25, 1) * opacity.strength * side
        visible = own * air
        box = _bounding_box(visible > _VISIBLE_SHARE * visible.max())
        if any(_overlap(box, other) for other in boxes):
            continue
        boxes.append(box)
        filled = np.maximum(filled, own)
    return filled, np.asarray(boxes, np.float32).reshape(-1, 4)


def _bounding_box(mask):
    """(x, y, width, height) in film pixels of a mask on the grid, less its stray specks."""
    rows, columns = (np.flatnonzero(mask.sum(axis) > 4) for axis in (1, 0))
    top, left = rows[0], columns[0]
    box = (left, top, columns[-1] + 1 - left, rows[-1] + 1 - top)
    return [side * (FILM_SIZE // GRID) for side in box]


def _overlap(box, other):
    return all(
        box[i] < other[i] + other[i + 2] and other[i] < box[i] + box[i + 2] for i in range(2)
    )


def _expose(plan, attenuation, tissue, chance):
    """Attenuation to uint8 [1024,1024]: blur, scatter, tone curve, grain, border and marker."""
    attenuation = ndimage.gaussian_filter(attenuation, plan.blur, truncate=3)
    attenuation = np.clip(attenuation, 0, None)
    attenuation = (1 - plan.scatter) * attenuation + 0.45 * plan.scatter * tissue
    tone = plan.white * (1 - np.exp(-plan.exposure * attenuation)) ** plan.gamma
    film = _double(tone)
    grain = np.frombuffer(chance.bytes(film.size), np.uint8).astype(np.float32)
    grain -= 127.5
    # Uniform bytes have a standard deviation of 74; each grid pixel covers 2 x 2 of the film.
    strength = plan.grain / 74 * (0.35 + 0.65 * tissue)
    film.reshape(GRID, 2, GRID, 2)[:] += (
        grain.reshape(GRID, 2, GRID, 2) * strength[:, None, :, None]
    )
    pixels = np.clip(film, 0, 255, out=film).astype(np.uint8)
    _stamp(pixels, plan, chance)
    top, bottom, left, right = plan.border
    pixels[:top] = pixels[FILM_SIZE - bottom :] = 0
    pixels[:, :left] = pixels[:, FILM_SIZE - right :] = 0
    return pixels


def _stamp(pixels, plan, chance):
    """The side marker: L stands on the picture's right."""
    letter = np.array([[dot == '1' for dot in row] for row in _LETTERS[plan.marker]])
    zoom = int(chance.integers(5, 9))
    stamp = np.kron(letter, np.ones((zoom, zoom), bool))
    inset = int(chance.integers(60, 150))
    x = FILM_SIZE - inset - stamp.shape[1] if plan.marker == 'L' else inset
    y = int(chance.integers(50, 180))
    pixels[y : y + stamp.shape[0], x : x + stamp.shape[1]][stamp] = 240


def _draw_findings(rng, class_id):
    if class_id == 0:
        return ()
    names = list(_FINDINGS)
    shares = np.array(list(_FINDINGS.values()))
    if class_id == 1:
        count = 1 if rng.random() < 0.7 else 2
        return tuple(str(x) for x in rng.choice(names, count, replace=False, p=shares))
    return tuple(x for x in _COMPANIONS if rng.random() < _FINDINGS[x])


def _draw_opacities(rng):
    count = 1 + int(rng.choice(3, p=_BOX_COUNT_SHARES))
    first = bool(rng.random() < 0.5)
    bilateral = count == 3 or (count == 2 and rng.random() < 0.85)
    drawn = []
    for i in range(count):
        left = first ^ (bilateral and i == 1)
        alone = count == 1 or (bilateral and (count == 2 or i == 1))
        heights = (0.2, 0.95) if alone else (0.1, 0.3) if i == 0 else (0.75, 0.95)
        drawn.append(
            Opacity(
                left=left,
                heights=heights,
                half_width=rng.uniform(0.28, 0.5),
                half_height=(0.45 if alone else 0.25) * math.exp(rng.normal(0, 0.35)),
                strength=0.4 + 0.6 * rng.beta(2, 1),
                seed=int(rng.integers(2**32)),
            )
        )
    return tuple(drawn)


def _draw_border(rng):
    if rng.random() < 0.6:
        return (0, 0, 0, 0)
    return tuple(int(x) for x in rng.integers(0, 45, 4) * (rng.random(4) < 0.5))


def _double(image):
    """Twice the size by linear interpolation, pixel centres kept in place."""
    rows = np.empty((2 * image.shape[0], image.shape[1]), image.dtype)
    rows[0::2], rows[1::2] = _between(image)
    film = np.empty((rows.shape[0], 2 * rows.shape[1]), image.dtype)
    film[:, 0::2], film[:, 1::2] = (half.T for half in _between(rows.T))
    return film


def _between(image):
    """The rows a quarter before and a quarter after each row."""
    near = 0.75 * image
    far = 0.25 * image
    before, after = near.copy(), near
    before[1:] += far[:-1]
    before[0] += far[0]
    after[:-1] += far[1:]
    after[-1] += far[-1]
    return before, after
