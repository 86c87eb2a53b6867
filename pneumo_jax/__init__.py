"""pneumo_jax: find lung opacities on chest films with JAX, and measure honestly how well.

Research software, not a medical device.
"""

__version__ = '0.1.0'
