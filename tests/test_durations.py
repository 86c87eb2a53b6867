import math
from fractions import Fraction

import pytest

from configs import base
from pneumo_jax.durations import epoch_ends, read_steps


def test_steps_hold_where_they_are_given():
    section = {'warmup_epochs': 1.5, 'warmup_steps': 0}
    assert read_steps(section, 'warmup', steps_per_epoch=10) == 15
    assert read_steps(section | {'warmup_steps': 7}, 'warmup', steps_per_epoch=10) == 7
    several = {'boundaries_epochs': (1, 2.5), 'boundaries_steps': ()}
    assert read_steps(several, 'boundaries', steps_per_epoch=10) == (10, 25)
    several['boundaries_steps'] = (3, 4)
    assert read_steps(several, 'boundaries', steps_per_epoch=10) == (3, 4)


@pytest.mark.parametrize('epochs', [0.1, 0.3, 0.7, 1.1, 2.2])
def test_decimal_fractions_of_an_epoch_are_taken_as_written(epochs):
    # In binary 0.1 is a little more than a tenth, which would be a step more.
    section = {'warmup_epochs': epochs, 'warmup_steps': 0}
    assert read_steps(section, 'warmup', steps_per_epoch=Fraction(1000, 10)) == round(100 * epochs)


def test_an_epoch_is_over_with_the_step_that_holds_its_last_film():
    for num_films in range(1, 60):
        for batch_size in (1, 3, 7, 16):
            config = base.get_config()
            config.num_epochs, config.batch_size = 5, batch_size
            ends = epoch_ends(config, steps_per_epoch=Fraction(num_films, batch_size))
            expected = [math.ceil(e * num_films / batch_size) for e in range(1, 6)]
            # Films of several epochs in one step: the shorter ones have no end of their own.
            assert ends == [end for end in expected[:-1] if end < expected[-1]] + expected[-1:]


def test_a_run_of_so_many_steps_ends_inside_an_epoch():
    config = base.get_config()
    config.batch_size, config.num_steps = 8, 13
    assert epoch_ends(config, steps_per_epoch=Fraction(5)) == [5, 10, 13]
    config.num_steps = 10
    assert epoch_ends(config, steps_per_epoch=Fraction(5)) == [5, 10]
    config.num_steps = 2
    assert epoch_ends(config, steps_per_epoch=Fraction(5)) == [2]
