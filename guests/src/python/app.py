"""The Python component: a wasi:cli/run command around work.py."""

from wit_world import exports

from work import work


class Run(exports.Run):
    def run(self):
        print("python", work())
