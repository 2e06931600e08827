"""From the JSON lines of gpu_bench and peers.py to Markdown: the goals and whether each is met,
every number, and what has failed.

usage: report.py LINES
"""

import json
import statistics
import sys

# What, part, tag, ours, the other's, the most that the ratio may be (None: only shown).
RATIOS = [
    ("host wait, idle, from C / Accelerate", "py_host", "", "lockstep from C, idle",
     "accelerate, idle", 0.06),
    ("the same, from Python", "py_host", "", "lockstep, idle", "accelerate, idle", 0.06),
    ("the same / dist.barrier", "py_host", "", "lockstep, idle", "dist.barrier, idle", None),
    ("host wait for a kernel, launch not counted, from C / Accelerate", "py_host", "",
     "kernel, lockstep from C alone", "kernel, accelerate alone", 0.10),
    ("the same, from Python", "py_host", "", "kernel, lockstep alone", "kernel, accelerate alone",
     0.10),
    ("the same, launch counted", "py_host", "", "kernel + lockstep", "kernel + accelerate", 0.10),
    ("the same / dist.barrier", "py_host", "", "kernel + lockstep", "kernel + dist.barrier", None),
    ("host wait for a stream's write / kernel + sync", "host", "",
     "write, wait_for_everyone_on alone", "kernel + sync", 0.6),
    ("the same, the write counted", "host", "", "write + wait_for_everyone_on", "kernel + sync",
     0.6),
    ("host wait for a kernel, launch not counted / kernel + sync", "host", "",
     "kernel, wait_for_everyone_on alone", "kernel + sync", 0.6),
    ("the same, launch counted", "host", "", "kernel + wait_for_everyone_on", "kernel + sync", 0.6),
    ("the driver's write behind a kernel, with nothing around it / kernel + sync", "host", "",
     "kernel, bare write alone", "kernel + sync", None),
    ("the same on an idle stream / kernel + sync", "host", "", "bare write, idle", "kernel + sync",
     None),
    ("host wait for a kernel / the driver's write behind one", "host", "",
     "kernel, wait_for_everyone_on alone", "kernel, bare write alone", None),
    ("host wait for a stream's write / the driver's write behind one", "host", "",
     "write, wait_for_everyone_on alone", "write, bare write alone", None),
    ("host wait for a kernel / kernel + sync + wait_for_everyone", "host", "",
     "kernel + wait_for_everyone_on", "kernel + sync + wait_for_everyone", None),
    ("host wait for a stream's write / write + sync + wait_for_everyone", "host", "",
     "write + wait_for_everyone_on", "write + sync + wait_for_everyone", None),
    ("stream barrier in a graph / ncclAllReduce", "graph", "", "lockstep", "nccl", 0.35),
    ("stream barrier in a graph / NCCL's LSA barrier", "graph", "", "lockstep", "lsa", 1.2),
    ("stream barrier in a graph / torch symm-mem", "py_graph", "", "lockstep", "torch symm-mem",
     0.8),
    ("the same, its result told to the host / ncclAllReduce", "graph", "", "lockstep, reporting",
     "nccl", None),
    ("stream barrier, one by one / ncclAllReduce", "eager", "", "lockstep", "nccl", None),
    ("stream barrier, one by one / NCCL's LSA barrier", "eager", "", "lockstep", "lsa", None),
    ("stream barrier, one by one, from Python / torch symm-mem", "py_eager", "", "lockstep",
     "torch symm-mem", None),
    ("by hosts of a node, in a graph / ncclAllReduce without P2P", "graph", "hosts", "lockstep",
     "nccl", None),
    ("by hosts of a node, one by one / ncclAllReduce without P2P", "eager", "hosts", "lockstep",
     "nccl", None),
    ("by hosts over UCX on TCP, in a graph / ncclAllReduce without P2P", "graph", "carried",
     "lockstep", "nccl", None),
    ("by hosts over UCX on TCP, one by one / ncclAllReduce without P2P", "eager", "carried",
     "lockstep", "nccl", None),
    ("check_trigger / Accelerate", "py_trigger", "", "lockstep_check_trigger",
     "accelerate check_trigger", 0.03),
    ("poll_trigger / Accelerate's check", "py_trigger", "", "lockstep_poll_trigger",
     "accelerate check_trigger", 0.001),
    ("set-up / NCCL's", "setup", "", "lockstep, ready", "nccl, ready", None),
    ("set-up's memory, MiB / NCCL's", "setup", "", "lockstep, memory", "nccl, memory", None),
    ("set-up's memory, MiB / NCCL's with its LSA barrier", "setup", "", "lockstep, memory",
     "nccl + lsa, memory", None),
    ("set-up and first barrier / NCCL's LSA barrier", "setup", "", "lockstep, first barrier over",
     "nccl + lsa, first barrier over", None),
]
# Where a peer could not be captured into a graph.
INSTEAD = {"py_graph": "py_eager"}
# What a way to agree adds to a step: name, the most that it may be of what Accelerate adds.
ADDED = [("lockstep_poll_trigger", 0.02), ("lockstep stream barrier", 0.02)]


def read(path):
    """Measured blocks by (ranks, nodes, part, tag, name), the lines themselves, and failures."""
    blocks, lines, failures = {}, [], []
    with open(path, encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # something else that a library has printed
            if not isinstance(line, dict) or "part" not in line:
                continue
            if "failed" in line:
                failures.append(line)
                continue
            lines.append(line)
            key = (line["ranks"], line["nodes"], line["part"], line["tag"], line["name"])
            blocks[key] = line["blocks"]
    return blocks, lines, failures


def number(value):
    return f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"


def row(ranks, what, ours, others, ratios, goal):
    ratio = statistics.median(ratios)
    verdict = "" if goal is None else "yes" if ratio <= goal else "NO"
    limit = "" if goal is None else f"{goal:g}"
    spread = f"{number(min(ratios))} – {number(max(ratios))}"
    print(f"| {ranks} | {what} | {number(statistics.median(ours))} | "
          f"{number(statistics.median(others))} | {number(ratio)} ({spread}) | {limit} | "
          f"{verdict} |")


def left_out(ranks, what, goal):
    print(f"| {ranks} | {what} | – | – | not measured | {goal:g} | – |")


def ratio_rows(blocks, ranks, nodes):
    for what, part, tag, ours, others, goal in RATIOS:
        on = nodes if tag == "carried" else 1
        a = blocks.get((ranks, on, part, tag, ours))
        b = blocks.get((ranks, on, part, tag, others))
        if part in INSTEAD and not b:
            a = blocks.get((ranks, on, INSTEAD[part], tag, ours))
            b = blocks.get((ranks, on, INSTEAD[part], tag, others))
            what += " (both one by one from Python: it was not captured)"
        if a and b:
            row(ranks, what, a, b, [x / y for x, y in zip(a, b) if y > 0] or [float("nan")], goal)
        elif goal is not None:
            left_out(ranks, what, goal)


def added_rows(blocks, ranks):
    for kind in ("timer", "matrices"):
        part = f"py_loop {kind}"

        def added(name):
            base = blocks.get((ranks, 1, part, "", "nothing"), [])
            with_it = blocks.get((ranks, 1, part, "", name), [])
            return [x - y for x, y in zip(with_it, base)]
        theirs = added("accelerate check_trigger")
        for name, goal in ADDED:
            ours = added(name)
            what = f"added to a step ({kind}): {name} / Accelerate's check_trigger"
            if ours and theirs:
                row(ranks, what, ours, theirs,
                    [x / y for x, y in zip(ours, theirs) if y != 0] or [float("nan")], goal)
            else:
                left_out(ranks, what, goal)


def main():
    blocks, lines, failures = read(sys.argv[1])
    print("Microseconds; set-up: milliseconds. Medians of blocks' medians; ratios are the medians "
          "of the ratios of neighbouring blocks, with their range.\n")
    print("| ranks | what | lockstep | peer | ratio | goal | met |\n|---|---|---|---|---|---|---|")
    for ranks in sorted({line["ranks"] for line in lines}):
        ratio_rows(blocks, ranks, nodes=2)
        added_rows(blocks, ranks)
    print("\n| ranks | nodes | part | what | median (range) of blocks | first |\n"
          "|---|---|---|---|---|---|")
    for line in lines:
        tag = f", {line['tag']}" if line["tag"] else ""
        first = number(line["blocks"][0]) if line["part"] == "setup" else ""
        print(f"| {line['ranks']} | {line['nodes']} | {line['part']}{tag} | {line['name']} | "
              f"{number(line['median'])} ({number(line['least'])} – {number(line['most'])}) "
              f"{line['unit']} | {first} |")
    for line in failures:
        tag = f", {line['tag']}" if line["tag"] else ""
        print(f"\nfailed: {line['ranks']} ranks, {line['nodes']} nodes, {line['part']}{tag}, "
              f"{line['name']}: {line['failed']}")
    gpus = sorted({line["gpu"] for line in lines})
    print("\non", ", ".join(gpus) or "no GPU: nothing was measured")


if __name__ == "__main__":
    main()
