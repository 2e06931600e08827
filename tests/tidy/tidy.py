#!/usr/bin/env python3
"""Checks what a machine can check of docs/style.md: folders, purity, lengths, forbidden words.

usage: tidy.py ROOT [--objects BUILD]   exit status 1 and one line per fault if there are any
"""
import argparse
import pathlib
import re
import subprocess
import sys

SOURCE = {".c", ".cpp", ".h", ".hpp"}
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 70
MAX_COLUMNS = 100

# A folder includes smaller numbers only, never a sibling; docs/architecture.md has the same table.
LAYERS = {
    "api/include/lockstep": 0,
    "runtime/base": 1,
    "runtime/topology": 2,
    "runtime/config": 2,
    "runtime/observe": 2,
    "runtime/request": 2,
    "runtime/schedule": 3,
    "runtime/trigger": 3,
    "runtime/bootstrap": 3,
    "runtime/lifecycle": 3,
    "runtime/saving": 3,
    "runtime/filesystem": 3,
    "runtime/plugin": 3,
    "runtime/node": 3,
    "runtime/engine": 4,
    "runtime/gpu": 4,
    "runtime/outside": 4,
    "runtime/progress": 5,
    "runtime": 6,
}
# Folders that meet only at the contract, besides their own files.
APART = {"api/cli": "api/cli", "api/examples": "api/examples", "plugins": "plugins", "slurm": "slurm"}
# A leader's progress, the one process that asks the scheduler, and saves that nobody waits for; made
# by base/quiet_thread.
THREAD_OWNERS = ("runtime/base/quiet_thread.", "runtime/lifecycle/advice.", "runtime/lifecycle/end_of_job.",
                 "runtime/progress/lookout.", "runtime/progress/port.", "runtime/saving/background.")
# What Slurm's plugin writes and the runtime reads; a contract that is not for users.
EXIT_PAGE = "slurm/spank/exit_page.h"
# No I/O, clock, lock or randomness: the same code runs in the simulator.
PURE = ("runtime/topology/", "runtime/schedule/", "runtime/trigger/", "runtime/engine/")
IMPURE_HEADERS = re.compile(
    r"#include <(thread|mutex|shared_mutex|condition_variable|atomic|chrono|random|cstdlib|ctime|"
    r"iostream|fstream|cstdio|filesystem|unistd\.h|sys/.*|pthread\.h|ucp/.*|pmix.*|hwloc.*|spdlog/.*)>")
IMPURE_SYMBOLS = re.compile(
    r"\b(clock_gettime|gettimeofday|time|pthread_\w+|socket|connect|open|openat|read|write|getenv|"
    r"rand|random|getrandom|usleep|nanosleep)(@|$)")


def sources(root):
    tracked = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"],
                             capture_output=True, text=True, check=False).stdout.split()
    names = tracked or [str(p.relative_to(root)) for p in root.rglob("*")]
    for name in sorted(names):
        path = root / name
        if path.suffix in SOURCE and path.is_file():
            yield name, path.read_text(encoding="utf-8").splitlines()


def layer_of(name):
    if name == EXIT_PAGE:
        return 0
    folder = str(pathlib.PurePosixPath(name).parent)
    return LAYERS.get(folder)


def included(line):
    match = re.match(r'#include "([^"]+)"', line)
    if not match:
        return None
    target = match.group(1)
    return "api/include/" + target if target.startswith("lockstep/") else target


def check_includes(name, lines):
    own = layer_of(name)
    apart = next((allowed for prefix, allowed in APART.items() if name.startswith(prefix + "/")), None)
    for number, line in enumerate(lines, 1):
        target = included(line)
        if target is None:
            continue
        other = layer_of(target)
        same_folder = pathlib.PurePosixPath(target).parent == pathlib.PurePosixPath(name).parent
        if own is not None:
            if other is None:
                yield number, f"includes {target}, which belongs to no layer below"
            elif not same_folder and other >= own:
                yield number, f"layer {own} includes {target} of layer {other}"
        elif apart is not None and "/" in target \
                and not target.startswith((apart + "/", "api/include/lockstep/")):
            yield number, f"includes {target}; {apart} meets the rest only at api/include"


def check_words(name, lines):
    if not lines or not re.match(r"(//|/\*) ?\S", lines[0]):
        yield 1, "the first line does not say why the file exists"
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield number, f"{len(line)} columns, at most {MAX_COLUMNS}"
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
            yield number, "left for later"
        if re.search(r"\bgetenv\s*\(", line) and not name.startswith(
                ("tests/", "api/examples/", "slurm/spank/")):
            yield number, "getenv: ask config/environment"
        if re.search(r"\benviron\b", line) and name.startswith(("runtime/", "plugins/")) \
                and name != "runtime/config/environment.cpp":
            yield number, "environ: only runtime/config/environment.cpp reads it"
        if re.search(r"std::j?thread\b", line) and name.startswith("runtime/") \
                and not name.startswith(THREAD_OWNERS):
            yield number, "threads: only " + ", ".join(THREAD_OWNERS) + " have one"
        if re.search(r"\b(atoi|atol|atof|sprintf|strcpy|strcat|gets)\s*\(", line):
            yield number, "a call that cannot report errors or bounds"
        if name.startswith(PURE) and IMPURE_HEADERS.match(line):
            yield number, "a pure folder includes " + line.split("<")[1].rstrip(">")
    if len(lines) > MAX_FILE_LINES:
        yield len(lines), f"{len(lines)} lines, at most {MAX_FILE_LINES}"


def check_functions(_, lines):
    """Bodies that open on a line of indent 0, 2 or 4 ending in ') {' and the like."""
    start = None
    for number, line in enumerate(lines, 1):
        opens = re.match(r"^( {0,4})[^\s/#*}].*[)\w] (?:const |noexcept |override )*\{$", line)
        if start is None and opens and not re.match(
                r"^\s*(:|(namespace|struct|class|enum|union|extern|if|for|while|switch|do|else)\b)", line):
            start = (number, opens.group(1))
        elif start is not None and line.startswith(start[1] + "}"):
            if number - start[0] - 1 > MAX_FUNCTION_LINES:
                yield start[0], f"a function of {number - start[0] - 1} lines, at most {MAX_FUNCTION_LINES}"
            start = None


def check_objects(build):
    """What the compiler made of the pure folders must not reach for the world either."""
    for folder in PURE:
        layer = folder.split("/")[1]
        objects = list(pathlib.Path(build).glob(f"runtime/CMakeFiles/lockstep_{layer}.dir/**/*.o"))
        if not objects:
            yield folder, 0, f"no objects below {build}"
        for item in objects:
            undefined = subprocess.run(["nm", "-u", str(item)], capture_output=True, text=True,
                                       check=True).stdout
            for line in undefined.splitlines():
                if IMPURE_SYMBOLS.search(line.split()[-1]):
                    yield folder, 0, f"{item.name} needs {line.split()[-1]}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--objects", metavar="BUILD", help="also look at the pure folders' objects")
    arguments = parser.parse_args()
    faults = []
    count = 0
    for name, lines in sources(arguments.root):
        count += 1
        for check in (check_includes, check_words, check_functions):
            faults += [(name, number, text) for number, text in check(name, lines)]
    if count == 0:
        faults.append((str(arguments.root), 0, "no sources found"))
    if arguments.objects:
        faults += list(check_objects(arguments.objects))
    for name, number, text in faults:
        print(f"{name}:{number}: {text}")
    print(f"{count} files, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
