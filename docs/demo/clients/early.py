"""A client with a bug that is out there: it takes the seconds of Retry-After for milliseconds.

It also waits at least 0.3 s, so that it is early rather than a flood.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from shop_client import buy

if __name__ == "__main__":
    print("ordered", buy(lambda hint: time.sleep(max(0.3, float(hint or 1) / 1000))))
