"""Phantom chest films: drawn from a few dozen numbers, not from any person.

A film is a projection in rough outline: the attenuation of body, lungs, heart, ribs and findings
is added up on a grid in body coordinates (u to the patient's left = picture right, v downward,
spine at u = 0, one unit = half a film side at scale 1) and passed through the film's tone curve.
``plan_film`` draws what a film shows, ``render`` draws the film: the same plan without its
opacities gives the same film without them, noise included.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from scipy import ndimage, sparse

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

# Attenuation is drawn at half the film's side: four times less work, and films are soft.
_GRID = 512
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
    body = _Body(plan)
    field = body.lung_field()
    lungs = field > 0.4
    air = field * (1 - 0.92 * body.heart())
    air *= 1 + 0.09 * _smooth_noise(texture, 24) + 0.06 * _smooth_noise(chance, 6)
    vessels, line = body.vessels(texture) * field, 0
    if 'pleural_line' in plan.findings:
        vessels, line = body.collapse(vessels, chance)
    opaque, boxes = _opacities(plan, body, air, lungs)
    attenuation = body.soft_tissue() - 0.5 * air * (1 - opaque)
    attenuation += 0.16 * vessels * (1 - 0.6 * opaque) + line
    attenuation += body.bones() + body.extras(chance, lungs)
    pixels = _expose(plan, attenuation, body.tissue, chance)
    return PhantomFilm(pixels, boxes, plan.class_id, plan.view, lungs)


class _Body:
    """The grids of one film in body coordinates, float32 [512,512], and what is drawn on them."""

    def __init__(self, plan: FilmPlan):
        person = plan.person
        self.plan, self.person = plan, person
        self._cos, self._sin = math.cos(plan.angle), math.sin(plan.angle)
        axis = ((np.arange(_GRID, dtype=np.float32) + 0.5) / (_GRID / 2)) - 1
        dx = (axis - plan.shift[0])[None, :]
        dy = (axis - plan.shift[1])[:, None]
        self.v = (self._cos * dy - self._sin * dx) / plan.scale
        straight = (self._cos * dx + self._sin * dy) / plan.scale
        worse = 0.09 if 'scoliosis' in plan.findings else 0
        self._bend = person.bend + math.copysign(worse, person.bend)
        # The spine's curve carries the whole chest along a little.
        curve = self._bend * np.sin(4.2 * (self.v + 0.45))
        self.u = straight - 0.45 * curve
        self.spine_u = straight - curve
        self.a = np.abs(self.u)
        self.left = (self.u > 0).astype(np.float32)
        self.wide = 'hyperinflation' in plan.findings
        self.chest = person.chest
        self.apex = -0.74
        height = person.lung_height * plan.inspiration * (1.16 if self.wide else 1)
        self.dome = self.apex + height
        self.base = self.dome + (0.2 if self.wide else 0.27)
        self.h = (self.v - self.apex) / (self.base - self.apex)
        rest = np.clip(1 - self.h, 0, 1)
        self.outer = self.chest * (1 - 0.46 * rest * rest * np.sqrt(rest))

    def to_grid(self, u, v):
        """Grid indices (row, column) of body points; arrays of one shape."""
        u = u + 0.45 * self._bend * np.sin(4.2 * (v + 0.45))
        x = self.plan.scale * (self._cos * u - self._sin * v) + self.plan.shift[0]
        y = self.plan.scale * (self._sin * u + self._cos * v) + self.plan.shift[1]
        half = _GRID / 2
        return ((y + 1) * half).astype(np.int64), ((x + 1) * half).astype(np.int64)

    def lung_field(self):
        """Share of air 0..1 along the ray, before heart and opacities."""
        w = self.chest
        top = (self.a - 0.4 * w) / (0.6 * w)
        top = self.apex + 0.32 * top * top
        peak = 0.5 * w
        off = self.a - peak
        lateral = np.clip(off, 0, None) / (w - peak)
        medial = np.clip(-off, 0, None) / peak
        drop = (0.12 if self.wide else 0.27) * lateral**2 + 0.09 * medial**2
        self.dome_v = self.dome + self.person.left_dome_drop * _step(self.u / 0.3) + drop
        if 'effusion' in self.plan.findings:
            side = self.left if self.person.texture_seed % 2 else 1 - self.left
            self.dome_v = self.dome_v - side * 0.55 * np.clip(off, 0, None) ** 1.2
        inner = (0.17 - 0.02 * self.left) * w + 0.05 * w * _bump(self.v, self.dome - 0.42, 0.22)
        below = self.dome_v - self.v
        field = _step((self.outer - self.a) / 0.018) * _step((self.a - inner) / 0.03)
        field *= _step((self.v - top) / 0.03)
        field *= 0.88 * _step(below / 0.016) + 0.12 * _step((below + 0.07) / 0.09)
        depth = np.clip((self.outer - self.a) / (0.4 * w), 0, 1)
        return field * (0.72 + 0.28 * depth) * (1.12 if self.wide else 1)

    def heart(self):
        """Share 0..1 of the lung's air that heart, aorta and great vessels displace."""
        w, plan = self.chest, self.plan
        size = self.person.heart * (1.12 if plan.view == 'AP' else 1)
        size *= 1.32 if 'large_heart' in plan.findings else 0.85 if self.wide else 1
        du = self.u - 0.2 * w * size
        dv = self.v - (self.dome - 0.05)
        along, across = 0.8 * du + 0.6 * dv, 0.8 * dv - 0.6 * du
        r = (along / (0.56 * w * size)) ** 2 + (across / (0.38 * w * size)) ** 2
        heart = _step((1 - r) / 0.12)
        # Aortic arch, then the waist that widens towards the ventricle.
        arch = 0.05 * self.person.aorta * _bump(self.v, self.apex + 0.4, 0.09)
        waist = 0.17 + 0.2 * size * np.clip((self.v - self.apex - 0.5) / 0.4, 0, 1)
        great = _step((waist * w + arch - self.u) / 0.025) * (self.u > 0)
        great *= _step((self.v - self.apex - 0.32) / 0.06)
        return np.maximum(heart, great)

    def vessels(self, texture):
        """Branching vessels from both hila, about 0..1."""
        count, steps = 72, 70
        side = np.where(np.arange(count) % 2, 1.0, -1.0)
        start_v = self.dome - 0.42 + texture.normal(0, 0.09, count)
        angle = texture.uniform(-1.35, 1.45, count)[:, None]
        angle = angle + np.cumsum(texture.normal(0, 0.09, (count, steps)), axis=1)
        pace = 0.0085 * texture.uniform(0.5, 1, count)[:, None]
        a = (0.14 + texture.uniform(0, 0.12, count)[:, None]) * self.chest + np.cumsum(
            pace * np.cos(angle), axis=1
        )
        v = start_v[:, None] + np.cumsum(pace * np.sin(angle), axis=1)
        fade = np.linspace(1, 0.1, steps) * texture.uniform(0.4, 1, count)[:, None]
        thick, thin = np.s_[:, :26], np.s_[:, 18:]
        u = side[:, None] * a
        trunks = self._splat(u[thick], v[thick], fade[thick], 2.6)
        twigs = self._splat(u[thin], v[thin], fade[thin], 1.4)
        return np.minimum(4.5 * trunks + 3 * twigs, 1.2)

    def collapse(self, vessels, chance):
        """Air around a partly collapsed lung: no vessels beyond a thin pleural line."""
        side = self.left if chance.random() < 0.5 else 1 - self.left
        gap = self.outer - self.a - chance.uniform(0.05, 0.12) * _step((0.75 - self.h) / 0.3)
        inside = self.h > 0
        free = side * inside * (gap < 0) * (self.a < self.outer)
        line = 0.09 * side * inside * np.exp(-((gap / 0.007) ** 2)) * _step((0.8 - self.h) / 0.1)
        return vessels * (1 - free), line - 0.06 * free

    def soft_tissue(self):
        """Attenuation of the body without air in the lungs; sets ``tissue``, its share 0..1."""
        w, fat, a, v = self.chest, self.person.fat, self.a, self.v
        flank = w * 1.08 + fat + 0.05 * np.clip(v - self.dome, 0, 1) * (1 + 6 * fat)
        slope = -0.98 + 0.25 * np.clip(a - 0.2, 0, None) + 0.6 * np.clip(a - 0.8, 0, None) ** 2
        trunk = _depth(np.minimum(flank - a, 1.2 * (v - slope)), 0.16)
        neck = _depth(np.minimum(0.24 + 0.3 * fat - a, 0.3 - v), 0.12)
        # An arm is a capsule from the shoulder downward, spread or close to the body.
        top = w + 0.16 + 0.4 * fat
        axis = top + (0.12 + self.plan.arm_spread) * np.clip(v + 0.6, 0, None)
        arm = _depth(np.minimum(0.17 + 0.4 * fat - np.abs(a - axis), 1.2 * (v - slope)), 0.14)
        self._arm_axis = axis
        girdle = _depth(np.minimum(top + 0.1 - a, np.minimum(1.2 * (v - slope), -0.3 - v)), 0.2)
        shell = np.maximum(
            np.maximum(0.8 * trunk, 0.62 * neck), np.maximum(0.52 * arm, 0.6 * girdle)
        )
        self.tissue = np.minimum(shell * 1.6, 1)
        soft = 0.68 * shell + 0.13 * np.exp(-((a / (0.3 * w)) ** 2)) * trunk
        abdomen = _step((v - self.dome_v) / 0.05) * _step((self.outer + 0.05 - a) / 0.06)
        soft += 0.24 * abdomen * trunk
        if self.person.breast:
            r = _radius((a - 0.62 * w) / (0.5 * w), (v - self.dome + 0.02) / 0.24)
            lower = 1 + 0.6 * _step((v - self.dome) / 0.2)
            soft += 0.1 * self.person.breast * np.sqrt(np.clip(1 - r * r, 0, 1)) * lower
        texture = np.random.default_rng(self.person.texture_seed)
        return soft + 0.02 * _smooth_noise(texture, 10) * trunk

    def bones(self):
        """Attenuation added by ribs, clavicles, spine, scapulae and arms (trachea taken off)."""
        a, v, w, person = self.a, self.v, self.chest, self.person
        x = a / w
        cage = _step((self.outer + 0.035 - a) / 0.02) * _step((v - self.apex + 0.09) / 0.04)
        cage *= 1 - 0.85 * _step((v - self.dome_v - 0.03) / 0.08)
        stretch = (v - self.apex) * (1 + 0.08 * self.left)
        slope = person.rib_slope + 0.16 * np.clip(stretch, 0, 1.3)
        back = (stretch - slope * (x * x * 1.2 - 0.25 * np.sin(3 * x))) / person.rib_spacing
        front = stretch - 0.75 * np.clip(1 - x, 0, 1) ** 0.9 - slope
        front = front / (person.rib_spacing * 1.12) + 0.3
        ribs = 0.075 * _band(back) * _step((a - 0.1) / 0.05)
        ribs += 0.04 * _band(front) * _step((x - 0.42) / 0.2) * _step((0.8 - self.h) / 0.3)
        bone = person.rib_weight * ribs * cage
        rim = np.exp(-(((a - self.outer - 0.012) / 0.014) ** 2)) * _step((v - self.apex) / 0.2)
        bone += 0.035 * rim * (0.5 + 0.5 * _step((self.dome_v - v) / 0.2))
        bone += self._clavicles() + self._spine() + self._shoulder_bones()
        return bone * np.minimum(self.tissue * 1.3, 1)

    def _clavicles(self):
        lift = self.person.clavicle_tilt + (0.12 if self.plan.view == 'AP' else 0)
        x = self.a / self.chest
        line = self.apex + 0.12 - lift * x + 0.035 * np.sin(5 * x) + 0.02 * self.left
        off = (self.v - line) / (0.028 + 0.012 * np.clip(0.4 - x, 0, 1))
        ends = _step((x - 0.13) / 0.03) * _step((1.12 - x) / 0.05)
        return 0.12 * _tube(off) * ends

    def _spine(self):
        s, v = np.abs(self.spine_u), self.v
        body = _step((0.088 - s) / 0.012)
        phase = (v - self.apex) / 0.108
        discs = 0.5 + 0.5 * np.cos(2 * np.pi * phase)
        pedicles = np.exp(-(((s - 0.055) / 0.016) ** 2)) * np.clip(discs, 0, 1) ** 2
        fade = 0.35 + 0.65 * _step((self.apex + 0.35 - v) / 0.4)
        spine = 0.09 * body + fade * (0.04 * body * discs + 0.04 * pedicles)
        carina = self.apex + 0.5
        trachea = _step((0.036 - np.abs(self.u)) / 0.014) * _step((carina - v) / 0.08)
        bronchi = _step((0.026 - np.abs(self.a - 0.75 * (v - carina))) / 0.014)
        bronchi *= _step((v - carina) / 0.05) * _step((carina + 0.16 - v) / 0.08)
        return spine - 0.1 * trachea - 0.06 * bronchi

    def _shoulder_bones(self):
        a, v, w = self.a, self.v, self.chest
        over_lung = 0.2 if self.plan.view == 'AP' else 0.02
        inner = w * (1.0 - over_lung) + 0.14 * (v + 0.5)
        blade = np.minimum(
            a - inner, np.minimum(v + 0.72 + 0.1 * a, 0.5 * (0.5 - a - 0.6 * v) + 0.14)
        )
        scapula = 0.05 * _step(blade / 0.02) + 0.05 * np.exp(-((blade / 0.012) ** 2))
        head = _radius(a - self._arm_axis, v + 0.62)
        shaft = _tube((a - self._arm_axis) / 0.058) * _step((v + 0.62) / 0.08)
        return scapula + 0.1 * _step((0.105 - head) / 0.02) + 0.1 * shaft

    def extras(self, chance, lungs):
        """Stomach and bowel gas, nodule and devices."""
        total = np.zeros_like(self.u)
        if self.plan.gas:
            centre = 0.48 * self.chest + chance.normal(0, 0.04)
            r = _radius((self.u - centre) / 0.16, (self.v - self.dome - 0.27) / 0.09)
            total -= chance.uniform(0.1, 0.28) * _step((1 - r) / 0.25)
        if 'nodule' in self.plan.findings:
            row, column = np.divmod(chance.choice(np.flatnonzero(lungs)), _GRID)
            r = _radius(self.u - self.u[row, column], self.v - self.v[row, column])
            total += chance.uniform(0.12, 0.22) * _step((1 - r / chance.uniform(0.03, 0.05)) / 0.3)
        if 'device' in self.plan.findings:
            total += self._device(chance)
        return total

    def _device(self, chance):
        w, t = self.chest, np.linspace(0, 1, 900)
        kind = chance.choice(['pacemaker', 'central_line', 'tube', 'leads'])
        side = chance.choice([-1, 1])
        if kind == 'pacemaker':
            u0, v0 = 0.72 * w, self.apex + 0.2
            box = (np.abs(self.u - u0) / 0.085) ** 4 + (np.abs(self.v - v0) / 0.07) ** 4
            u = u0 + (0.1 * w - u0) * np.sin(1.57 * t) + 0.16 * w * np.clip(t - 0.6, 0, 1) * 2
            v = v0 - 0.16 * np.sin(3.1 * t) + (self.dome - 0.1 - v0) * t**2
            return 0.4 * _step((1 - box) / 0.3) + 0.2 * self._line(u, v)
        if kind == 'central_line':
            u = side * 0.34 * w * (1 - t) ** 2 - 0.1 * w * t
            v = -1.0 + (self.dome - 0.42 + 1.0) * t
            return 0.16 * self._line(u, v)
        if kind == 'tube':
            v = -1.2 + (self.apex + chance.uniform(0.3, 0.42) + 1.2) * t
            return 0.13 * (self._line(0.014 + 0 * t, v) + self._line(-0.014 + 0 * t, v))
        leads = np.zeros_like(self.u)
        for sign in (-1, 1):
            u0, v0 = sign * chance.uniform(0.55, 0.9) * w, chance.uniform(-0.5, 0.15)
            leads += 0.2 * _step((0.032 - _radius(self.u - u0, self.v - v0)) / 0.008)
            sag = chance.uniform(-0.2, 0.3)
            leads += 0.13 * self._line(u0 + sag * t * (1.4 - t), v0 + (1.1 - v0) * t)
        return leads

    def _line(self, u, v):
        return np.minimum(6 * self._splat(u, v, np.ones_like(u), 1.0), 1)

    def _splat(self, u, v, weight, sigma):
        rows, columns = self.to_grid(u, v)
        on = (rows >= 0) & (rows < _GRID) & (columns >= 0) & (columns < _GRID)
        flat = np.bincount(rows[on] * _GRID + columns[on], weight[on], _GRID * _GRID)
        image = flat.reshape(_GRID, _GRID).astype(np.float32)
        return ndimage.gaussian_filter(image, sigma, truncate=3)


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
        row, column = np.divmod(place, _GRID)
        u0, v0 = body.u[row, column], body.v[row, column]
        own = np.zeros_like(air)
        for _ in range(rng.integers(3, 7)):
            du = body.u - (u0 + opacity.half_width * rng.uniform(-0.55, 0.55))
            dv = body.v - (v0 + opacity.half_height * rng.uniform(-0.55, 0.55))
            spread = rng.uniform(0.35, 0.7, 2) * (opacity.half_width, opacity.half_height)
            r = (du * du) * float(spread[0] ** -2) + (dv * dv) * float(spread[1] ** -2)
            own = np.maximum(own, np.exp(-r * np.sqrt(r)) * rng.uniform(0.75, 1))
        mottle = 0.75 + 0.15 * _smooth_noise(rng, 20) + 0.1 * _smooth_noise(rng, 64)
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
    return [side * (FILM_SIZE // _GRID) for side in box]


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
    film.reshape(_GRID, 2, _GRID, 2)[:] += (
        grain.reshape(_GRID, 2, _GRID, 2) * strength[:, None, :, None]
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


def _step(x):
    """A soft step from 0 to 1 around x = 0, about 2 wide."""
    t = np.clip(0.5 + 0.5 * x, 0, 1)
    return t * t * (3 - 2 * t)


def _radius(x, y):
    # np.hypot takes seven times longer: it guards against overflow.
    return np.sqrt(x * x + y * y)


def _bump(x, centre, width):
    return np.exp(-(((x - centre) / width) ** 2))


def _depth(distance, skin):
    """Thickness of a round body 0..1 at a distance inward from its outline."""
    t = np.clip(distance / skin, 0, 1)
    return np.sqrt(t * (2 - t)) * 0.8 + 0.2 * np.clip(distance / (2.5 * skin), 0, 1)


def _tube(x):
    """A bone across: 0 beyond |x| = 1, brighter at its edges."""
    x = np.abs(x)
    return _step((1 - x) / 0.25) * (0.65 + 0.35 * x * x)


def _band(phase):
    """A rib per whole number of ``phase``, a bit under half the period wide."""
    return _tube((phase - np.round(phase)) / 0.24)


def _smooth_noise(rng, cells):
    """Unit-variance noise, float32 [512,512], with about ``cells`` waves over the side."""
    weights = _interpolation(cells)
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return (weights @ np.ascontiguousarray((weights @ coarse).T)).T


@functools.lru_cache(maxsize=8)
def _interpolation(cells):
    """Sparse weights float32 [512,cells] of smooth interpolation, with rows of unit norm."""
    at = (np.arange(_GRID) + 0.5) / _GRID * cells - 0.5
    weights = np.exp(-1.4 * (at[:, None] - np.arange(cells)[None, :]) ** 2)
    weights[weights < 1e-3] = 0
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return sparse.csr_array(weights.astype(np.float32))


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
