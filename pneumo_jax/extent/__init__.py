"""Opacity extent: how much of the film and of the lungs opacities cover; never how ill one is."""

from pneumo_jax.extent.extent import Extent, box_coverage, laterality, opacity_extent
from pneumo_jax.extent.lung_fields import LungFields, lung_fields
from pneumo_jax.extent.reference import ExtentReference, fit_reference

__all__ = [
    'Extent',
    'ExtentReference',
    'LungFields',
    'box_coverage',
    'fit_reference',
    'laterality',
    'lung_fields',
    'opacity_extent',
]
