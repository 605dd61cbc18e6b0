"""Print what a subunit stream on standard input says of each test: a JSON list of [id, status, traceback].

Run by the Python of the virtual environment that tempest is in.
"""

import json
import sys

import subunit
import testtools

found = []


def note(test):
    """Keep the last word on one test."""
    details = test["details"]
    text = "".join(
        details[name].as_text() for name in sorted(details) if "traceback" in name or name == "reason"
    )
    found.append([test["id"], test["status"], text])


stream = subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout")
result = testtools.StreamToDict(note)
result.startTestRun()
stream.run(result)
result.stopTestRun()
json.dump(found, sys.stdout)
