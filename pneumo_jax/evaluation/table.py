"""The results as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from pneumo_jax.evaluation.text import figure_text, figure_title

__all__ = ['table']

# Figure -> the trivial answer's.
_BASELINES = {
    ('film', 'accuracy'): 'all_negative_accuracy',
    ('film', 'auroc'): 'view_alone_auroc',
    ('mask', 'pixel_accuracy'): 'all_background_pixel_accuracy',
    ('boxes', 'challenge_map'): 'no_box_challenge_map',
}
_COUNTS = ('true_positives', 'false_positives', 'false_negatives', 'true_negatives')


def table(content: dict) -> str:
    """What a reader of the terminal needs: a figure a line, with interval and trivial baseline.

    Args:
        content: of results.json.
    """
    return '\n'.join(
        [*_head(content), '', *_figures(content), '', *_strata(content), *_end(content)]
    )


def _head(content) -> Iterator[str]:
    num_films, num_known = content['num_films'], content['num_films_with_known_boxes']
    persons = f' of {content["num_persons"]} persons' if content['num_persons'] else ''
    yield (
        f'{content["model"]}, split {content["split"]}: {num_films} films{persons}, prevalence '
        f'{content["prevalence"]:.1%}'
        + (f', boxes known of {num_known}' if num_known < num_films else '')
    )
    yield f'protocol: {content["protocol"]}'
    yield f'label domains: {", ".join(f"{k} {n}" for k, n in content["label_domains"].items())}'
    yield ', '.join(
        f'{name} threshold {content["thresholds"][name]:.4f} '
        f'({"" if content["thresholds"][f"{name}_chosen"] else "not "}chosen on validation)'
        for name in ('film', 'box')
    )


def _figures(content) -> Iterator[str]:
    interval = content['intervals']
    heading = f'value (95 % interval over {interval["unit"]}s)'
    yield f'{"figure":<42}{heading:<40}trivial answer'
    for group in ('film', 'boxes', 'mask'):
        yield group
        for name, figure in content[group].items():
            if not isinstance(figure, dict) or name in _COUNTS:
                continue
            line = f'  {figure_title(name):<40}{figure_text(figure):<38}  '
            if (baseline := _BASELINES.get((group, name))) is not None:
                value = figure_text(content['baselines'][baseline])
                line += f'{value}, {figure_title(baseline)}'
            yield line.rstrip()
    counts = ', '.join(
        f'{content["film"][name]["value"]} {name.replace("_", " ")}' for name in _COUNTS
    )
    yield f'  {counts}'


def _strata(content) -> Iterator[str]:
    for division in content['strata'].values():
        for name, group in division['groups'].items():
            yield (
                f'{name}: {group["num_films"]} films, prevalence {group["prevalence"]:.1%}, AUROC '
                f'{figure_text(group["figures"]["auroc"])}'
            )


def _end(content) -> Iterator[str]:
    for warning in content['warnings']:
        yield ''
        yield f'WARNING: {warning["message"]}'
    yield ''
    yield content['notice']
