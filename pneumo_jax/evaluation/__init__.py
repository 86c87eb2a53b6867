"""From a model's answers, film by film, to figures, pictures and a page. NumPy alone: no model."""
