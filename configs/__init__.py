"""Run configurations; each file has a ``get_config()`` and is given by ``--config=FILE``."""
