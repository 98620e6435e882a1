#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""
compare_json.py BEFORE.json AFTER.json: called by bench/compare, whose usage says what it does. Python's own library
alone; the statistics are those of Google Benchmark's compare.py, which runs on what both files have.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

COMPARE = "/usr/share/benchmark/compare.py"
REPETITIONS = 10
ALPHA = 0.05


def refuse(why):
    print("bench/compare: " + why, file=sys.stderr)
    sys.exit(2)


def is_time(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def load(path):
    """The file's context, its runs by name (a list of records each), and why a name failed."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            whole = json.load(stream)
    except (OSError, ValueError, RecursionError) as error:
        refuse(f"{path}: it isn't JSON: {error}")
    records = whole.get("benchmarks") if isinstance(whole, dict) else None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        refuse(f'{path}: it isn\'t what "bench/run --json" writes: there are no benchmarks in it')
    runs, failed = {}, {}
    for record in records:
        name = record.get("name")
        if record.get("run_type") != "iteration" or not isinstance(name, str):
            continue
        if record.get("error_occurred"):
            failed[name] = str(record.get("error_message", "no reason given"))
        elif is_time(record.get("real_time")) and is_time(record.get("cpu_time")) and "time_unit" in record:
            runs.setdefault(name, []).append(record)
        else:
            failed[name] = "its record has no time"
    context = whole.get("context")
    return context if isinstance(context, dict) else {}, runs, failed


def check_repetitions(path, runs, names):
    for name in names:
        if len(runs[name]) < REPETITIONS:
            refuse(f"{path}: {len(runs[name])} repetitions of {name}, where {REPETITIONS} are needed: "
                   f"bench/run --repetitions {REPETITIONS} --json FILE")


def u_test(before, after, names):
    """compare.py's p for each name, of the real time."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index, runs in enumerate((before, after)):
            paths.append(os.path.join(folder, f"{index}.json"))
            with open(paths[-1], "w", encoding="utf-8") as stream:
                json.dump({"context": {}, "benchmarks": [record for name in names for record in runs[name]]}, stream)
        answer = os.path.join(folder, "answer.json")
        ran = subprocess.run([sys.executable, "-E", "-s", COMPARE, "--no-color", "-d", answer, "benchmarks",
                              *paths],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if ran.returncode != 0 or not os.path.exists(answer):
            refuse("compare.py failed: " + ran.stdout.decode(errors="replace").strip().split("\n")[-1])
        with open(answer, encoding="utf-8") as stream:
            # It leaves out a p that is too small for a double.
            return {entry["name"]: entry["utest"].get("time_pvalue", 0.0) for entry in json.load(stream)}


def spread(times):
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return high - low


def times_of(records):
    return [record["real_time"] for record in records]


def digits(time):
    return f"{time:.2f}" if time < 10 else f"{time:.1f}" if time < 1000 else f"{time:.0f}"


def print_file(which, path, context, names, runs):
    count = min((len(runs[name]) for name in names), default=0)
    print(f"{which:7} {path}: commit {context.get('aero_commit', 'unknown')}, {context.get('date', 'undated')}, "
          f"{count} repetitions")


def print_differences(before, after):
    """What makes two files hard to compare, if they differ in it."""
    for key, what in (("host_name", "host"), ("aero_cpu", "cpu"), ("aero_target", "target"),
                      ("aero_compiler", "compiler"), ("aero_flags", "flags"), ("aero_smoke", "smoke"),
                      ("aero_seed", "seed"), ("aero_driver_cpu", "driver's CPU"), ("aero_device_cpu", "device's CPU"),
                      ("aero_device", "device"), ("aero_quirks", "quirks")):
        if before.get(key) != after.get(key):
            print(f"note    they differ in {what}: {before.get(key)} and {after.get(key)}")


def moved(before, after, names):
    """(name, before, after, change, p) of each that moved."""
    p_of = u_test(before, after, names)
    for name in names:
        old, new = times_of(before[name]), times_of(after[name])
        medians = statistics.median(old), statistics.median(new)
        if p_of[name] < ALPHA and abs(medians[1] - medians[0]) > max(spread(old), spread(new)):
            yield name, digits(medians[0]), digits(medians[1]), \
                f"{100 * (medians[1] - medians[0]) / medians[0]:+.1f} %", f"{p_of[name]:.4f}"


def print_moved(lines, compared):
    if not lines:
        print(f"nothing moved: {compared} benchmarks, none with p < {ALPHA} and beyond its spread")
        return
    width = max(len(line[0]) for line in lines)
    print(f"{len(lines)} of {compared} benchmarks moved: p < {ALPHA}, and beyond the spread")
    print(f"{'median ns an item':{width}} {'before':>10} {'after':>10} {'change':>10} {'p':>8}")
    for name, old, new, change, p in lines:
        print(f"{name:{width}} {old:>10} {new:>10} {change:>10} {p:>8}")


def main():
    paths = sys.argv[1:]
    (old_context, before, old_failed), (new_context, after, new_failed) = (load(path) for path in paths)
    names = [name for name in before if name in after and name not in old_failed and name not in new_failed]
    everything = dict.fromkeys([*before, *old_failed]), dict.fromkeys([*after, *new_failed])
    if not any(name in everything[1] for name in everything[0]):
        refuse(f"{paths[0]} and {paths[1]} have no benchmark in common")
    check_repetitions(paths[0], before, names)
    check_repetitions(paths[1], after, names)

    print_file("before", paths[0], old_context, names, before)
    print_file("after", paths[1], new_context, names, after)
    print_differences(old_context, new_context)
    for which, failed in (("before", old_failed), ("after", new_failed)):
        for name, why in failed.items():
            print(f"failed  {name}, in {which}: {why}")
    for which, here, there in (("before", *everything), ("after", everything[1], everything[0])):
        for name in here:
            if name not in there:
                print(f"only    {name}, in {which}")
    print()
    if names:
        print_moved(list(moved(before, after, names)), len(names))
    else:
        print("nothing is left to compare")
    sys.exit(1 if old_failed or new_failed else 0)


main()
