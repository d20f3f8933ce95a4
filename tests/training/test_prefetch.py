import threading
import time

import pytest

from anneal_jax.training.prefetch import done_ahead, one_behind


@pytest.mark.parametrize(("num_threads", "depth"), [(1, 1), (3, 2), (2, 50)])
def test_order_is_kept_however_long_an_item_takes(num_threads, depth):
    def slow_when_even(number):
        time.sleep(0.002 * (number % 2 == 0))
        return number

    items = list(range(20))
    assert list(done_ahead(slow_when_even, items, num_threads=num_threads, depth=depth)) == items
    assert list(done_ahead(slow_when_even, [], num_threads=num_threads, depth=depth)) == []


def test_no_more_than_the_depth_is_taken_ahead():
    taken = []

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    results = done_ahead(abs, items(), num_threads=2, depth=3)
    for number in range(15):
        assert next(results) == number
        assert len(taken) == number + 4
    results.close()
    assert len(taken) <= 19


def test_the_next_is_worked_on_while_the_caller_has_one():
    is_begun = [threading.Event() for _ in range(3)]

    def begin(number):
        is_begun[number].set()
        return number

    for number in done_ahead(begin, range(3), num_threads=1, depth=1):
        assert all(event.wait(timeout=20) for event in is_begun[: number + 2])


def test_an_error_comes_in_its_place_and_the_rest_is_given_up():
    done = []

    def fails_at_three(number):
        done.append(number)
        if number == 3:
            raise OSError("no tile 3")
        return number

    results = done_ahead(fails_at_three, range(1000), num_threads=2, depth=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="no tile 3"):
        next(results)
    assert max(done) < 20
    assert not any(thread.name.startswith("ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("count", [0, 1, 4])
def test_one_behind_takes_the_next_before_it_gives_one(count):
    taken = []

    def results():
        for number in range(count):
            taken.append(number)
            yield number

    for place, number in enumerate(one_behind(results())):
        assert number == place and len(taken) == min(place + 2, count)
    assert len(taken) == count
