"""What is compiled once is not compiled again at the next start."""

from __future__ import annotations

import logging
import os
import pathlib

import jax

__all__ = ['cache_compilations']

log = logging.getLogger(__name__)


def cache_compilations() -> None:
    """Keeps what is compiled in the folder JAX_COMPILATION_CACHE_DIR, else ~/.cache/pneumo_jax."""
    if 'JAX_COMPILATION_CACHE_DIR' in os.environ:
        return
    try:
        caches = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
    except RuntimeError:
        log.warning('no home folder: set JAX_COMPILATION_CACHE_DIR to keep what is compiled')
        return
    jax.config.update('jax_compilation_cache_dir', str(caches / 'pneumo_jax'))
