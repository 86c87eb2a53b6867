"""Run configurations, given by ``--config=FILE``; all build on ``base``, some on ``transfer``."""
