"""The commands that administrators know, by their own names, and what the document on them shows."""

import os
import re
import subprocess

from .server import BINARY, ROOT, SCRATCH, run


def ours(name, *arguments, **options):
    """Valija by one of its other names."""
    link = SCRATCH / "bin" / name
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(BINARY)
    return apart(link, *arguments, **options)


def apart(*command, input=None, **options):
    """A command's exit code, output and standard error, as text."""
    options.setdefault("cwd", SCRATCH)
    done = subprocess.run([str(word) for word in command], input=input.encode() if isinstance(input, str) else input or b"",
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **options)
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape"), done.stderr.decode("utf-8", "surrogateescape")


def folder(name, **files):
    directory = SCRATCH / name
    directory.mkdir()
    for file, text in files.items():
        (directory / file).write_text(text)
        # Postfix reads a file that is seconds old again and again, and says its warnings each time.
        os.utime(directory / file, (1600000000, 1600000000))
    return directory


def called_by_name(server, *names):
    """The server's environment, with these commands first in its PATH."""
    for name in names:
        ours(name, "--help")
    return dict(server.environment, PATH=f"{SCRATCH / 'bin'}:{os.environ['PATH']}")


def shown_in_commands(*headings):
    """The consoles of docs/commands.md below these headings."""
    sections = (ROOT / "docs/commands.md").read_text().split("\n## ")
    return [block for section in sections if section.startswith(headings) for block in re.findall(r"```console\n(.*?)```", section, re.S)]


def happens(block, here, environment):
    """Whether each command of a console says there what the document has it say."""
    for command, want in re.findall(r"^\$ (.*)\n((?:[^$\n].*\n)*)", block, re.M):
        done = run("bash", "-c", command, cwd=here, env=environment)
        assert done.returncode == 0 and done.out == want, f"{command}\n got {done.out}\nwant {want}"
