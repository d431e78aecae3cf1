"""Runs inside a child process, as `python -I -c`; never imported. Compares answers with math-verify.

One JSON line [reference, text] in, one word out: equal, different, no_answer, bad_reference.
"""

import json
import os
import resource
import sys

MEMORY_BYTES = 4 << 30


def main() -> None:
    """Until the other side closes."""
    sys.path[:] = json.loads(sys.argv[1])
    from math_verify import parse, verify

    report = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for line in sys.stdin:
        reference, text = json.loads(line)
        # A reference may be a bare LaTeX expression; in an answer that is no claim.
        wanted, claimed = parse(reference) or parse(f"${reference}$"), parse(text)
        if not wanted:
            word = "bad_reference"
        elif not claimed:
            word = "no_answer"
        else:
            word = "equal" if verify(wanted, claimed) else "different"
        os.write(report, f"{word}\n".encode())


if __name__ == "__main__":
    main()
