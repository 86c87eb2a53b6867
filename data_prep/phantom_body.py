"""The anatomy of a phantom: attenuation on a grid in body coordinates, added up by ``phantom``."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import ndimage, sparse

__all__ = ['GRID', 'Body', 'smooth_noise']

# Attenuation is drawn at half the film's side: four times less work, and films are soft.
GRID = 512


class Body:
    """The grids of one film in body coordinates, float32 [512,512], and what is drawn on them.

    Args:
        plan: a ``phantom.FilmPlan``.
    """

    def __init__(self, plan):
        person = plan.person
        self.plan, self.person = plan, person
        self._cos, self._sin = math.cos(plan.angle), math.sin(plan.angle)
        axis = ((np.arange(GRID, dtype=np.float32) + 0.5) / (GRID / 2)) - 1
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
        half = GRID / 2
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
        return soft + 0.02 * smooth_noise(texture, 10) * trunk

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
            row, column = np.divmod(chance.choice(np.flatnonzero(lungs)), GRID)
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
        on = (rows >= 0) & (rows < GRID) & (columns >= 0) & (columns < GRID)
        flat = np.bincount(rows[on] * GRID + columns[on], weight[on], GRID * GRID)
        image = flat.reshape(GRID, GRID).astype(np.float32)
        return ndimage.gaussian_filter(image, sigma, truncate=3)


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


def smooth_noise(rng, cells):
    """Unit-variance noise, float32 [512,512], with about ``cells`` waves over the side."""
    weights = _interpolation(cells)
    coarse = rng.standard_normal((cells, cells), dtype=np.float32)
    return (weights @ np.ascontiguousarray((weights @ coarse).T)).T


@functools.lru_cache(maxsize=8)
def _interpolation(cells):
    """Sparse weights float32 [512,cells] of smooth interpolation, with rows of unit norm."""
    at = (np.arange(GRID) + 0.5) / GRID * cells - 0.5
    weights = np.exp(-1.4 * (at[:, None] - np.arange(cells)[None, :]) ** 2)
    weights[weights < 1e-3] = 0
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return sparse.csr_array(weights.astype(np.float32))
