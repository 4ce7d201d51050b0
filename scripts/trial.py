"""Run trial, look for leaks in what was logged, and say at the end, in one line, how many tests passed, failed and were skipped."""

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.leaks import leaks  # noqa: E402


def main() -> int:
    """The exit status: 0 only if trial is content and at least one test passed."""
    started = time.time()
    trial = subprocess.Popen([sys.executable, "-m", "twisted.trial", *sys.argv[1:]], text=True,
                             errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert trial.stdout is not None
    summary = ran = ""
    for line in trial.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if line.startswith(("PASSED", "FAILED")):
            summary = line
        elif line.startswith("Ran "):
            ran = line
    status = trial.wait()
    counts = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", summary)}
    failed = sum(counts.get(name, 0) for name in ("failures", "errors", "unexpectedSuccesses"))
    passed = counts.get("successes", 0)
    if status and not failed:
        failed = 1
    for leak in leaks(Path.cwd(), started):
        print(f"[LEAK] {leak}")
        failed += 1
    skipped = f", {counts['skips']} skipped" if counts.get("skips") else ""
    if not ran:
        print("trial did not finish")
    print(f"{passed} passed, {failed} failed{skipped}")
    return int(bool(failed or not passed or status))


if __name__ == "__main__":
    sys.exit(main())
