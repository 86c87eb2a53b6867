"""Boxes to training targets, model outputs to boxes, and the matching of the two."""
