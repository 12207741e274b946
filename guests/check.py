"""Runs every line of expected.txt in wasmtime and compares. Started by guests/check.

A file name as the argument takes the lines from there. With --print, prints what each line gave
instead of comparing, in the same form. Needs the wasmtime package from PyPI.
"""

import pathlib
import sys
import time

import wasmtime
from wasmtime import component

HERE = pathlib.Path(__file__).resolve().parent
PRINT = "--print" in sys.argv
ESCAPES = [("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t")]


def unescape(text):
    return "" if text == "-" else text.encode().decode("unicode_escape")


def escape(text):
    for plain, escaped in ESCAPES:
        text = text.replace(plain, escaped)
    return text or "-"


def load(path):
    data = path.read_bytes()
    if path.suffix == ".wat":
        data = wasmtime.wat2wasm(data.decode())
    return bytes(data)


def work_step(x):
    return ((x * 0x5851F42D4C957F2D) & (2**64 - 1)) ^ 0x14057B7EF767814F


def bench_work(steps, x):
    """The host's part of accuracy/guest_host.wat."""
    for _ in range(steps):
        x = work_step(x)
    return x if x < 2**63 else x - 2**64


def command_of(store, instance):
    """The function run of wasi:cli/run, of whichever 0.2 release."""
    for patch in range(20):
        world = instance.get_export_index(store, f"wasi:cli/run@0.2.{patch}")
        if world:
            return instance.get_func(store, instance.get_export_index(store, "run", world))
    raise wasmtime.WasmtimeError("the component exports no wasi:cli/run")


def run_here(name, invoke, arguments, stdin_path, stdout_path):
    """Runs one guest in this process; returns how it ended and what it returned."""
    data = load(HERE / name)
    config = wasmtime.Config()
    for feature in ("wasm_exceptions", "wasm_tail_call", "wasm_function_references", "wasm_gc"):
        if hasattr(config, feature):
            setattr(config, feature, True)
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    wasi = wasmtime.WasiConfig()
    wasi.argv = [name] + ([] if invoke != "-" else arguments)
    wasi.stdin_file, wasi.stdout_file = str(stdin_path), str(stdout_path)
    store.set_wasi(wasi)
    try:
        if data[4:8] == b"\x0d\x00\x01\x00":
            module = component.Component(engine, data)
            linker = component.Linker(engine)
            linker.add_wasip2()
            instance = linker.instantiate(store, module)
            if invoke == "-":
                run, arguments = command_of(store, instance), []
            else:
                run = instance.get_func(store, invoke)
        else:
            module = wasmtime.Module(engine, data)
            linker = wasmtime.Linker(engine)
            linker.define_wasi()
            work = wasmtime.FuncType([wasmtime.ValType.i32(), wasmtime.ValType.i64()], [wasmtime.ValType.i64()])
            linker.define_func("bench", "work", work, bench_work)
            exports = linker.instantiate(store, module).exports(store)
            run = exports["_start" if invoke == "-" else invoke]
            arguments = [] if invoke == "-" else arguments
        result = run(store, *[float(a) if "." in a else int(a) for a in arguments])
        if invoke == "-" and getattr(result, "tag", None) == "err":
            return "exit:1", []
        if invoke == "-":
            return "exit:0", []
        if name.startswith("accuracy/"):
            result = exports["sink"].value(store)
        return "exit:0", [] if result is None else result if isinstance(result, list) else [result]
    except wasmtime.ExitTrap as trap:
        return f"exit:{trap.code}", []
    except wasmtime.Trap as trap:
        return f"trap:{trap.trap_code.name.lower()}", []
    except wasmtime.WasmtimeError as error:
        return f"error:{str(error).splitlines()[-1]}", []


def check(line):
    name, invoke, arguments, stdin, end, results, stdout = line.split("\t")
    words = [] if arguments == "-" else arguments.split(" ")
    scratch = HERE / "target" / "check-files"
    scratch.mkdir(parents=True, exist_ok=True)
    text = (HERE / stdin[1:]).read_text() if stdin.startswith("@") else unescape(stdin)
    (scratch / "stdin").write_text(text)
    (scratch / "stdout").write_text("")
    start = time.monotonic()
    got_end, got = run_here(name, invoke, words, scratch / "stdin", scratch / "stdout")
    took = time.monotonic() - start
    got_results = " ".join(str(value) for value in got) or "-"
    got_stdout = escape((scratch / "stdout").read_text())
    found = "\t".join([name, invoke, arguments, stdin, got_end, got_results, got_stdout])
    if PRINT:
        print(found, flush=True)
        print(f"{took:.2f} s", file=sys.stderr, flush=True)
        return True
    if found == line:
        print(f"ok    {took:6.2f} s  {name} {'' if invoke == '-' else invoke} {arguments}", flush=True)
        return True
    print(f"WRONG {name}\n  want {line}\n  got  {found}", flush=True)
    return False


def main():
    path = next((a for a in sys.argv[1:] if not a.startswith("-")), HERE / "expected.txt")
    lines = [line for line in pathlib.Path(path).read_text().splitlines() if line and line[0] != "#"]
    wrong = sum(not check(line) for line in lines)
    if not lines or wrong:
        sys.exit(f"{wrong} of {len(lines)} lines of {path} are wrong")
    if not PRINT:
        print(f"all {len(lines)} lines are right")


if __name__ == "__main__":
    main()
