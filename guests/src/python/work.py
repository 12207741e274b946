"""What the Python guests do: parse, count, sort and hash texts that they make themselves.

Run as a script by CPython for WASI, and imported by app.py, the component.
"""

import hashlib
import json
import re


def make_lines(count, seed):
    lines = []
    for number in range(count):
        seed = (seed * 1103515245 + 12345) % 2**31
        lines.append(json.dumps({"user": f"user-{seed % 97}", "micros": seed >> 8, "line": number}))
    return lines


def slowest(lines):
    by_user = {}
    for line in lines:
        entry = json.loads(line)
        user = int(re.fullmatch(r"user-(\d+)", entry["user"]).group(1))
        by_user.setdefault(user, []).append(entry["micros"])
    return sorted((max(times), len(times), user) for user, times in by_user.items())


def collatz(number):
    steps = 0
    while number != 1:
        number = 3 * number + 1 if number % 2 else number // 2
        steps += 1
    return steps


def work():
    digest = hashlib.sha256()
    for seed in range(10):
        digest.update(repr(slowest(make_lines(1000, seed))).encode())
        digest.update(str(sum(collatz(number) for number in range(1, 4000))).encode())
    return digest.hexdigest()


if __name__ == "__main__":
    print("python", work())
