"""The data in pictures: what films and tables hold, before anything learns from them."""
