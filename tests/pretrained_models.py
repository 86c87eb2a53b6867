"""Published networks with the weights of a file, as the tests compute them."""

import pathlib

import jax
import numpy as np
from flax import nnx

from pneumo_jax.models.classifier import Classifier, build_classifier
from pneumo_jax.models.conventions import normalise
from pneumo_jax.pretrained import Pretrained, load_pretrained, place
from pneumo_jax.pretrained.entries import entries_of
from pneumo_jax.pretrained.network import array_shapes, network_modules
from pneumo_jax.pretrained.origins import FAMILIES, NAMINGS
from pneumo_jax.pretrained.weight_file import WeightFile


def load_classifier(path, name, *, width=1.0, conventions=None) -> Classifier:
    """The network of a file, ready to predict."""
    pretrained = load_pretrained(path, name=name, width=width, conventions=conventions)
    return as_classifier(pretrained, width=width)


def as_classifier(pretrained: Pretrained, *, width=1.0, conventions=None) -> Classifier:
    """The same of loaded weights, computed by other conventions than theirs if those are given."""
    bias = pretrained.params.get(('top', 'predictions', 'bias'))
    model = build_classifier(
        pretrained.name,
        num_classes=1000 if bias is None else bias.size,
        width=width,
        in_channels=pretrained.in_channels,
        conventions=conventions or pretrained.conventions,
        rngs=nnx.Rngs(0),
    )
    model.eval()
    graph, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    params, batch_stats, _ = place(
        pretrained, nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats)
    )
    return nnx.merge(graph, params, batch_stats)


def random_arrays(name, *, width=1.0, in_channels=3) -> dict:
    """Arrays of a classifier, by path; maps neither vanish nor explode."""
    rng = np.random.default_rng(0)
    arrays = {}
    for path, shape in array_shapes(name, width, in_channels).items():
        array = rng.random(shape, np.float32)
        if path[-1] == 'kernel':
            # He et al. 2015, uniform.
            array = (2 * array - 1) * np.float32(np.sqrt(6 / np.prod(shape[:-1])))
        elif path[-1] == 'var':
            array += 0.5
        arrays[path] = array
    return arrays


def as_file(arrays, name, naming) -> WeightFile:
    """A file of these arrays, as if it had been read, in a naming of ``origins.NAMINGS``."""
    modules = network_modules(name)
    named = NAMINGS[naming]
    layers = named.layers(FAMILIES[name], modules)
    return WeightFile(
        path=pathlib.Path('weights'),
        container=named.container,
        arrays={
            entry.name: entry.form.save(arrays[entry.path]) if entry.form else arrays[entry.path]
            for entry in entries_of(layers, modules, named.container)
            if not entry.is_folded
        },
    )


def random_pictures(size):
    """uint8 [2,size,size,3]."""
    return np.random.default_rng(size).integers(0, 256, (2, size, size, 3), np.uint8)


def maps_of(classifier, pictures):
    """{stride: map} of uint8 pictures."""

    def maps(unit):
        channels = classifier.backbone.in_channels
        return classifier.backbone(normalise(unit, classifier.normalisation, channels))

    found = jax.jit(maps)(pictures.astype(np.float32) / 255)
    return {stride: np.asarray(array) for stride, array in found.items()}
