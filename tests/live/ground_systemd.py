"""A stub of systemd for a ground: transient units that start, stop and are collected as PID 1 does.

Like it, units inherit nothing of the caller and have ``$`` in their commands expanded (never in the
environment or the working directory); ExecStop runs also when the process has ended well by itself.
"""

from __future__ import annotations

import subprocess
import sys

from tests.live.ground import Ground

_COMMON = """#!{python} -IS
import json, os, re, signal, subprocess, sys, time
folder = os.path.dirname(os.path.abspath(__file__))
units = os.path.join(folder, "units")
def expanded(words):
    return [re.sub(r"[$]([{{]\\w+[}}]|\\w+)", "", w) for w in words]
def run(words, unit, **more):
    words = expanded(words)
    words = [os.path.join(folder, "sh"), *words[1:]] if words[0] == "/bin/sh" else words
    return subprocess.Popen(words, cwd=unit["cwd"], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={{"PATH": os.environ["PATH"], **unit["env"], **more}})
def load(name):
    with open(os.path.join(units, name)) as f:
        return json.load(f)
"""
_RUN = """
if os.path.exists(os.path.join(folder, "broken")):
    sys.exit("Failed to connect to bus")
words, unit = sys.argv[1:], {"env": {}, "cwd": "/", "props": {}, "flags": []}
while words[0].startswith("-"):
    word = words.pop(0)
    key, _, value = (words.pop(0) if word == "-p" else word).partition("=")
    if word == "-p" and key == "WorkingDirectory":
        unit["cwd"] = value
    elif word == "-p":
        unit["props"].setdefault(key, []).append(value)
    elif key == "--setenv":
        unit["env"].update([value.split("=", 1)])
    elif key == "--unit":
        name = value
    else:
        unit["flags"].append(word)
if os.path.exists(os.path.join(units, name)):
    sys.exit("Unit %s was already loaded" % name)
heard, told = os.pipe()
if os.fork():
    os.close(told)
    os.read(heard, 1)
    sys.exit()
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for number in range(3):
    os.dup2(null, number)
kept = (0, 1, 2, told)
[os.close(n) for n in map(int, os.listdir("/proc/self/fd")) if n not in kept and n != null
 and os.path.exists("/proc/self/fd/%d" % n)]
main = run(words, unit)
with open(os.path.join(units, name), "w") as f:
    json.dump({**unit, "pid": main.pid, "systemd": os.getpid()}, f)
os.close(told)
code = main.wait()
status = signal.Signals(-code).name[3:] if code < 0 else str(code)
stop, post = (unit["props"].get(key, [""])[0].split() for key in ("ExecStop", "ExecStopPost"))
if stop and code in (0, -signal.SIGTERM):
    run(stop, unit).wait()
if post:
    run(post, unit, EXIT_STATUS=status).wait()
time.sleep(0.2)
os.unlink(os.path.join(units, name))
"""
_CTL = """
verb, name = sys.argv[1], sys.argv[-1]
loaded = os.path.exists(os.path.join(units, name))
if verb == "show":
    print("loaded" if loaded else "not-found")
elif not loaded:
    sys.exit("Unit %s not loaded." % name)
elif verb == "kill":
    os.killpg(load(name)["pid"], getattr(signal, "SIG" + sys.argv[sys.argv.index("-s") + 1]))
elif verb == "stop":
    unit = load(name)
    run(unit["props"]["ExecStop"][0].split(" "), unit).wait()
    try:
        os.kill(unit["pid"], signal.SIGTERM)
    except ProcessLookupError:
        pass
"""


class Systemd:
    """Makes a ground's host one with systemd."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.units = ground.bin / "units"
        self.units.mkdir()
        ground.systemd.mkdir()
        head = _COMMON.format(python=sys.executable)
        ground.tool("systemd-run", head + _RUN)
        ground.tool("systemctl", head + _CTL)

    @property
    def loaded(self) -> list[str]:
        """Names of the units that systemd knows."""
        return sorted(path.name for path in self.units.iterdir())

    def systemctl(self, *words: str) -> None:
        """Call systemctl as a host's shutdown, or its operator, would."""
        tool = str(self.ground.bin / "systemctl")
        subprocess.run([tool, *words], env=self.ground.env, check=True, timeout=30)

    def break_down(self) -> None:
        """systemd-run says that it cannot reach systemd."""
        (self.ground.bin / "broken").touch()
