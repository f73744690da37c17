"""A client that polls as it is told: the shop's Retry-After is a floor, rounded up, never cut short."""

import math
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from shop_client import buy

if __name__ == "__main__":
    print("ordered", buy(lambda hint: time.sleep(math.ceil(float(hint or 1)))))
