#!/usr/bin/env python3
"""Checks that each message that docs/troubleshooting.md quotes is one that the sources can print.

A message is what stands in backticks in the first column of a table with the head "message"; … stands
for what differs. What others print is marked (Slurm), (UCX), (PMIx) or (Open MPI) and not checked.

usage: quotes.py ROOT   exit status 1 and one line per fault if there are any
"""
import pathlib
import re
import sys

PAGE = "docs/troubleshooting.md"
FOLDERS = ("runtime", "plugins", "api", "slurm")
CODE = {".c", ".cpp", ".h", ".hpp"}
SCRIPTS = {".sh", ""}
LITERAL = r'"(?:[^"\\\n]|\\.)*"'
BY_OTHERS = re.compile(r"`[^`]*` \((?:Slurm|UCX|PMIx|Open MPI)\)")
LEAST = 6  # letters of the longest part; fewer say nothing


def texts(root):
    """All that can be printed, one per line: literals that follow each other are one."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if not path.is_file():
                continue
            if path.suffix in CODE:
                source = path.read_text(encoding="utf-8")
                source = re.sub(r'^\s*#include.*$|^\s*//.*$', "", source, flags=re.M)
                for run in re.findall(rf"{LITERAL}(?:\s*{LITERAL})*", source):
                    yield "".join(part[1:-1] for part in re.findall(LITERAL, run)).replace('\\"', '"')
            elif path.suffix in SCRIPTS and path.parent.name == "testbed":
                for line in path.read_text(encoding="utf-8").splitlines():
                    if not line.lstrip().startswith("#"):
                        yield line


def messages(page):
    """(line, message) for every message of the page that is lockstep's own."""
    in_table = False
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("|"):
            in_table = False
        elif line.startswith("| message |"):
            in_table = True
        elif in_table:
            cell = BY_OTHERS.sub("", line.split(" | ")[0])
            for message in re.findall(r"`([^`]+)`", cell):
                yield number, message


def fault_of(message, corpus):
    parts = [part.strip() for part in message.split("…")]
    parts = [part for part in parts if re.search(r"\w", part)]
    if max((len(re.findall(r"[A-Za-z]", part)) for part in parts), default=0) < LEAST:
        return "has too few constant words to be found"
    missing = [part for part in parts if part not in corpus]
    return f"nothing prints '{missing[0]}'" if missing else None


def main():
    root = pathlib.Path(sys.argv[1])
    corpus = "\n".join(texts(root))
    count = faults = 0
    for number, message in messages((root / PAGE).read_text(encoding="utf-8")):
        count += 1
        fault = fault_of(message, corpus)
        if fault:
            faults += 1
            print(f"{PAGE}:{number}: `{message}`: {fault}")
    if count == 0:
        faults += 1
        print(f"{PAGE}: quotes no message at all")
    print(f"{count} messages, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
