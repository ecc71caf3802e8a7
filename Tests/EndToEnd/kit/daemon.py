"""Programs that serve beside the server under test, in the foreground, until the case is done with them."""

import ctypes
import pathlib
import signal
import subprocess

PR_SET_PDEATHSIG = 1


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Daemon:
    """`with` starts it and stops it. Whoever is one has `start`, which launches the program, waits until it serves, and returns it.

    It ends with the thread that started it: a killed case leaves none behind.
    """

    process = None
    errors_path = None  # what the program says outside its log

    def launch(self, *command, errors, leads_session=False):
        """`leads_session`: for one that ends its own processes as one group."""
        self.errors_path = pathlib.Path(errors)
        with open(errors, "ab") as file:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            preexec_fn=die_with_parent, start_new_session=leads_session)

    def is_running(self):
        """True, or the case fails with what it said."""
        assert self.process.poll() is None, \
            f"{type(self).__name__} ended with {self.process.returncode}:\n{self.log()}\n{self.errors_path.read_text(errors='replace')}"
        return True

    def log(self):
        return ""

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(15)
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
