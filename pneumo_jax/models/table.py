"""The size of the networks: parameters, and multiply-adds of a picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jax.extend.core import jaxprs_in_params

from pneumo_jax.models import BACKBONES, FilmModel, build_backbone
from pneumo_jax.models.classifier import build_classifier
from pneumo_jax.models.conventions import OWN

__all__ = [
    'IMAGE_SIZES',
    'Size',
    'count_parameters',
    'multiply_adds',
    'network_size',
    'size_lines',
]

IMAGE_SIZES = (224, 256, 512)

_LEGEND = """
parameters     classifier: the network as published, 3 channels and 1000 classes, as papers and
               torchvision count them; film model: the network here, 1 channel, with the pyramid
               and the two heads instead. Running statistics are no parameters.
multiply-adds  of the film model's backbone on one film, in convolutions and dense layers: what
               papers and torchvision call FLOPs, MACs or mult-adds. Additions and multiplications
               counted apart are twice as many."""

# As in configs/base.py.
_PYRAMID_CHANNELS = 64


@dataclasses.dataclass(frozen=True)
class Size:
    """Of one network.

    Attributes:
        name: of ``BACKBONES``.
        classifier: parameters of the network of 3 channels and 1000 classes.
        film_model: parameters of the ``FilmModel`` of 1 channel.
        multiply_adds: of the film model's backbone on one film, by the film's side in pixels.
    """

    name: str
    classifier: int
    film_model: int
    multiply_adds: dict[int, int]


def size_lines(names: Iterable[str] = tuple(BACKBONES)) -> Iterator[str]:
    """The lines of the table of ``python -m pneumo_jax.models``, as they are computed."""
    yield f'{"":<20}{"parameters":>25}   {"millions of multiply-adds at":>30}'
    columns = ''.join(f'{f"{size} px":>10}' for size in IMAGE_SIZES)
    yield f'{"":<20}{"classifier":>13}{"film model":>12}   {columns}'
    for name in names:
        size = network_size(name)
        counts = ''.join(f'{count / 1e6:>10,.1f}' for count in size.multiply_adds.values())
        yield f'{name:<20}{size.classifier:>13,}{size.film_model:>12,}   {counts}'
    yield _LEGEND


def network_size(name: str) -> Size:
    """The size of a network of ``BACKBONES``, without computing anything."""
    classifier = nnx.eval_shape(lambda: build_classifier(name, rngs=nnx.Rngs(0)))
    film_model = nnx.eval_shape(lambda: _film_model(name, nnx.Rngs(0)))
    return Size(
        name=name,
        classifier=count_parameters(classifier),
        film_model=count_parameters(film_model),
        multiply_adds={size: multiply_adds(film_model.backbone, size) for size in IMAGE_SIZES},
    )


def _film_model(name, rngs):
    return FilmModel(
        build_backbone(name, rngs=rngs),
        normalisation=OWN.normalisation,
        dropout=0.0,
        pyramid_channels=_PYRAMID_CHANNELS,
        class_head=False,
        dtype=jnp.float32,
        rngs=rngs,
    )


def count_parameters(model: nnx.Module) -> int:
    """Trained numbers of a module; running statistics are none."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(nnx.state(model, nnx.Param)))


def multiply_adds(model: nnx.Module, image_size: int) -> int:
    """Multiply-adds of convolutions and dense layers on one picture.

    Args:
        model: a backbone or a ``Classifier``; its arrays may be abstract.
        image_size: side of the picture in pixels.
    """
    graph, state = nnx.split(nnx.view(model, raise_if_not_found=False, use_running_average=True))
    backbone = getattr(model, 'backbone', model)
    picture = jax.ShapeDtypeStruct((1, image_size, image_size, backbone.in_channels), jnp.float32)
    traced = jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x))(state, picture)
    return _count(traced.jaxpr)


def _count(jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in _COUNTED:
            total += _COUNTED[name](equation)
        elif name == 'cond':
            # The platforms' own arithmetic stands first; the last is what defines the result.
            total += _count(equation.params['branches'][-1].jaxpr)
        else:
            total += sum(_count(inner) for inner in jaxprs_in_params(equation.params))
    return total


def _convolution(equation):
    (_, kernel), (out,) = equation.invars, equation.outvars
    channels = kernel.aval.shape[equation.params['dimension_numbers'].rhs_spec[0]]
    return math.prod(out.aval.shape) * math.prod(kernel.aval.shape) // channels


def _product(equation):
    (left, _), (out,) = equation.invars, equation.outvars
    (contracted, _), _ = equation.params['dimension_numbers']
    return math.prod(out.aval.shape) * math.prod(left.aval.shape[axis] for axis in contracted)


_COUNTED: dict[str, Callable] = {'conv_general_dilated': _convolution, 'dot_general': _product}
