#!/usr/bin/env python3
"""quotes.py must see a message that nothing prints, and must not miss one that the sources build."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

QUOTES = pathlib.Path(__file__).with_name("quotes.py")
HEAD = "| message | why | type |\n|---|---|---|\n"
SOURCE = '''// "a comment prints nothing at all"
fmt::format("rank {} is late; "
            "type: wait {}", rank, 1);
'''


def quotes(rows, sources=None):
    with tempfile.TemporaryDirectory() as folder:
        files = {"docs/troubleshooting.md": rows, "runtime/late.cpp": SOURCE, **(sources or {})}
        for name, text in files.items():
            path = pathlib.Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        result = subprocess.run([sys.executable, str(QUOTES), folder], capture_output=True, text=True,
                                check=False)
        return result.returncode, result.stdout


class Quotes(unittest.TestCase):
    def assert_fine(self, rows, sources=None):
        status, output = quotes(HEAD + rows, sources)
        self.assertEqual(status, 0, output)

    def assert_fault(self, rows, expected):
        status, output = quotes(HEAD + rows)
        self.assertEqual(status, 1, output)
        self.assertIn(expected, output)

    def test_a_message_over_two_literals_is_found(self):
        self.assert_fine("| `rank … is late; type: wait …` | why | |\n")

    def test_a_message_that_nothing_prints_is_a_fault(self):
        self.assert_fault("| `rank … is early` | why | |\n", "docs/troubleshooting.md:3: ")

    def test_each_of_several_is_looked_for(self):
        self.assert_fault("| `… is late; …`, `is punctual` | why | |\n", "nothing prints 'is punctual'")

    def test_a_comment_is_no_message(self):
        self.assert_fault("| `a comment prints nothing at all` | why | |\n", "nothing prints")

    def test_a_message_without_words_of_its_own_is_a_fault(self):
        self.assert_fault("| `…: …` | why | |\n", "too few")

    def test_what_others_print_is_their_affair(self):
        self.assert_fine("| `rank … is late` | | |\n| `of another program` (Slurm) | why | |\n")

    def test_other_columns_and_tables_are_free(self):
        self.assert_fine("| `rank … is late` | `anything` | `at all` |\n\n| symptom | |\n|---|---|\n"
                         "| `whatever it may be` | why |\n")

    def test_scripts_of_the_testbed_count(self):
        self.assert_fine("| `no room on …` | why | |\n",
                         {"slurm/testbed/up.sh": 'die "no room on $node"\n'})
        status, _ = quotes(HEAD + "| `no room on …` | why | |\n",
                           {"slurm/testbed/up.sh": '# says: no room on $node\n'})
        self.assertEqual(status, 1)

    def test_a_page_without_messages_is_a_fault(self):
        status, output = quotes("# nothing\n")
        self.assertEqual(status, 1, output)


if __name__ == "__main__":
    unittest.main()
