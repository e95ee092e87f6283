"""A coroutine that runs at once, up to where it first waits."""

import asyncio
import contextvars

import pytest
from spatius_avatar_python.eager import run_eagerly

name = contextvars.ContextVar("name", default="none")


async def test_coroutine_that_never_waits_ends_at_once():
    """It has run, and there is no task for it."""
    done = []

    async def act() -> None:
        done.append("here")

    assert run_eagerly(act()) is None
    assert done == ["here"]


async def test_coroutine_runs_up_to_its_first_wait():
    """The rest is a task's, and gets what it waited for."""
    loop = asyncio.get_running_loop()
    awaited = loop.create_future()
    done = []

    async def act() -> None:
        done.append("begun")
        done.append(await awaited)

    task = run_eagerly(act())
    assert done == ["begun"]
    assert task is not None
    awaited.set_result("result")
    await task
    assert done == ["begun", "result"]


async def test_coroutine_may_wait_many_times():
    """Bare turns of the loop and futures alike."""
    done = []

    async def act() -> None:
        for number in range(3):
            await asyncio.sleep(0)
            done.append(number)
            await asyncio.sleep(0.001)

    task = run_eagerly(act())
    assert task is not None
    await task
    assert done == [0, 1, 2]


async def test_exception_before_the_first_wait_is_raised_at_once():
    """The caller gets it, not a task."""

    async def act() -> None:
        raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        run_eagerly(act())


async def test_exception_after_the_first_wait_is_the_tasks():
    """The caller has returned by then."""

    async def act() -> None:
        await asyncio.sleep(0)
        raise ValueError("late")

    task = run_eagerly(act())
    assert task is not None
    with pytest.raises(ValueError, match="late"):
        await task


async def test_exception_of_what_it_waits_for_reaches_the_coroutine():
    """It can handle it as in any task."""
    awaited = asyncio.get_running_loop().create_future()
    caught = []

    async def act() -> None:
        try:
            await awaited
        except ValueError as error:
            caught.append(error)
        await asyncio.sleep(0)
        caught.append("after")

    task = run_eagerly(act())
    assert task is not None
    error = ValueError("awaited")
    awaited.set_exception(error)
    await task
    assert caught == [error, "after"]


async def test_cancellation_reaches_the_coroutine():
    """The rest can be cancelled, and cleans up."""
    awaited = asyncio.get_running_loop().create_future()
    cleaned = []

    async def act() -> None:
        try:
            await awaited
        finally:
            cleaned.append(True)

    task = run_eagerly(act())
    assert task is not None
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]
    assert awaited.cancelled()


@pytest.mark.parametrize("turns", [0, 1])
async def test_cancellation_between_two_turns_reaches_the_coroutine(turns: int):
    """It is the exception that a task gets, and can be handled as there."""
    caught = []

    async def act() -> None:
        try:
            for _ in range(10):
                await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            caught.append(error)

    task = run_eagerly(act())
    assert task is not None
    for _ in range(1 + turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert task.done()
    assert not task.cancelled()
    assert len(caught) == 1


async def test_cancellation_before_the_rest_begins():
    """A task that is cancelled before it has run ends its coroutine, too."""
    cleaned = []

    async def act() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            cleaned.append(True)

    task = run_eagerly(act())
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == [True]


async def test_context_variables_of_the_caller_are_seen():
    """Before the first wait and after it."""
    seen = []

    async def act() -> None:
        seen.append(name.get())
        await asyncio.sleep(0)
        seen.append(name.get())

    token = name.set("caller")
    task = run_eagerly(act())
    name.reset(token)
    assert task is not None
    await task
    assert seen == ["caller", "caller"]


async def test_coroutine_may_run_another_one_at_once():
    """The inner one's rest does not wait for the outer one."""
    order = []

    async def inner() -> None:
        order.append("inner")
        await asyncio.sleep(0)
        order.append("inner's rest")

    async def outer() -> None:
        rest = run_eagerly(inner())
        order.append("outer")
        assert rest is not None
        await rest

    task = run_eagerly(outer())
    assert task is not None
    await task
    assert order == ["inner", "outer", "inner's rest"]
