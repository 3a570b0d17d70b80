import io

from tasks.run.progress import ConsoleProgress, Progress, SilentProgress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_are_five_seconds_apart_and_say_the_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = ConsoleProgress(stream, clock)
    progress.start("train", 100)
    for second in range(1, 13):
        clock.now = float(second)
        progress.advance(second * 2, "loss 1.2")
    progress.finish()
    assert stream.getvalue().splitlines() == [
        "train: 0 of 100",
        "train: 10 % (10 of 100), 45 s left, loss 1.2",  # 8 steps in 4 s, 90 to go
        "train: 20 % (20 of 100), 40 s left, loss 1.2",
        "train: 24 of 100 in 12 s",
    ]


def test_resumed_task_is_not_taken_for_a_fast_one() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = ConsoleProgress(stream, clock)
    progress.start("train", 100)
    progress.advance(80)
    clock.now = 10.0
    progress.advance(90)
    assert "10 s left" in stream.getvalue()


def test_nothing_to_do_is_no_error() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = ConsoleProgress(stream, clock)
    progress.start("train", 0)
    clock.now = 9.0
    progress.advance(0)
    progress.finish()
    assert "train: 0 % (0 of 0)" in stream.getvalue()


def test_terminal_gets_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    progress = ConsoleProgress(stream)
    progress.start("train [1/2]", 4)
    progress.advance(4, "best [x]")
    progress.start("again", 2)
    progress.finish()
    assert "train [1/2]" in stream.getvalue() and "4/4" in stream.getvalue()


def test_silent_one_has_the_same_shape() -> None:
    progress: Progress = SilentProgress()
    progress.start("a", 1)
    progress.advance(1)
    progress.finish()
