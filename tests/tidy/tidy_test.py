#!/usr/bin/env python3
"""tidy.py must see every kind of fault: each is planted in a tree of its own."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

TIDY = pathlib.Path(__file__).with_name("tidy.py")
FINE = "// Says why.\n#pragma once\n"


def tidy(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        result = subprocess.run([sys.executable, str(TIDY), folder], capture_output=True, text=True,
                                check=False)
        return result.returncode, result.stdout


class Tidy(unittest.TestCase):
    def assert_fault(self, name, text, expected):
        status, output = tidy({name: text})
        self.assertEqual(status, 1, output)
        self.assertIn(expected, output)

    def test_a_clean_tree_passes(self):
        self.assertEqual(tidy({"runtime/base/a.hpp": FINE})[0], 0)

    def test_an_empty_tree_is_no_pass(self):
        self.assertEqual(tidy({})[0], 1)

    def test_upward_and_sideways_includes(self):
        self.assert_fault("runtime/base/a.hpp", FINE + '#include "runtime/engine/b.hpp"\n', "layer 1 includes")
        self.assert_fault("runtime/node/a.hpp", FINE + '#include "runtime/plugin/b.hpp"\n', "layer 3 includes")
        self.assert_fault("plugins/x/a.hpp", FINE + '#include "runtime/base/b.hpp"\n', "only at api/include")
        self.assert_fault("runtime/base/a.hpp", FINE + '#include "tests/b.hpp"\n', "no layer below")

    def test_the_runtime_meets_slurm_at_the_exit_page_only(self):
        include = '#include "slurm/spank/{}"\n'
        self.assertEqual(tidy({"runtime/node/a.hpp": FINE + include.format("exit_page.h")})[0], 0)
        self.assert_fault("runtime/node/a.hpp", FINE + include.format("key.h"), "no layer below")
        self.assert_fault("slurm/spank/exit_page.h", FINE + '#include "runtime/base/b.hpp"\n', "layer 0")

    def test_the_environment_of_slurms_processes_is_the_plugins(self):
        line = FINE + 'auto x = get' + 'env("X");\n'
        self.assertEqual(tidy({"slurm/spank/a.c": line})[0], 0)
        self.assert_fault("slurm/testbed/a.c", line, "getenv")

    def test_impure_headers(self):
        self.assert_fault("runtime/engine/a.hpp", FINE + "#include <chrono>\n", "pure folder")

    def test_words_and_lengths(self):
        self.assert_fault("runtime/base/a.hpp", "#pragma once\n", "first line")
        self.assert_fault("runtime/base/a.hpp", FINE + "// TO" + "DO later\n", "left for later")
        self.assert_fault("runtime/base/a.hpp", FINE + 'auto x = get' + 'env("X");\n', "getenv")
        self.assert_fault("runtime/node/a.hpp", FINE + "std::jthread worker;\n", "threads")
        self.assert_fault("runtime/base/a.hpp", FINE + "// " + "x" * 100 + "\n", "columns")
        self.assert_fault("runtime/base/a.hpp", FINE + "//\n" * 700, "at most 600")
        self.assert_fault("runtime/base/a.cpp", "// Says why.\nvoid f() {\n" + "  g();\n" * 71 + "}\n",
                          "a function of 71 lines")


if __name__ == "__main__":
    unittest.main()
