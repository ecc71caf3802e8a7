"""Runs the tests of one case, in the order of its file: `python3 -m kit.case FOLDER`."""

import importlib.util
import os
import pathlib
import signal
import sys
import time
import traceback

import kit


class TimedOut(BaseException):
    """Not an Exception: a test's own `except Exception` must not swallow it."""


def on_alarm(signum, frame):
    raise TimedOut("the test's time is over")


def describe_failure(error, servers):
    """The trace without the frames of this runner, then the end of each server's log."""
    frames = traceback.format_exception(type(error), error, error.__traceback__)
    print("".join("     " + line + "\n" for line in "".join(frames).splitlines()), end="")
    for server in servers:
        print(f"     --- the end of {server.log_path}")
        for line in server.log_tail():
            print("     " + line)


def main(folder):
    folder = pathlib.Path(folder)
    spec = importlib.util.spec_from_file_location("case", folder / "test.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    signal.signal(signal.SIGALRM, on_alarm)
    failures = 0
    only = os.environ.get("ONLY")  # part of a sentence: for work on one test
    for test in kit.tests:
        if only and only not in test.sentence:
            continue
        started = time.monotonic()
        error = None
        signal.alarm(test.limit)
        try:
            test.function()
        except (Exception, TimedOut) as caught:
            error = caught
        finally:
            signal.alarm(0)
        seconds = time.monotonic() - started
        print(f"{'FAIL' if error else '  ok'} {test.sentence} ({seconds:.1f} s)", flush=True)
        if error:
            failures += 1
            describe_failure(error, kit.Server.started)
        kit.Server.discard_all()
        with open(os.environ["CASE_RESULTS"], "a") as results:
            results.write("failed\n" if error else "passed\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
