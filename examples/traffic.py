"""At which traffic two plans of a finished run cost the same.

python examples/traffic.py shop-run item-knn sequential
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from frugalrec.cost import Cost
from frugalrec.forecast import DAYS_A_MONTH
from frugalrec.prices import PriceSheet

PHASES = {"per_refresh": 1.0, "per_request": 1_000_000.0}


def main() -> None:
    """Read the run's decision and print what each plan costs a month, and where they cross."""
    run, *names = sys.argv[1:] or ("shop-run", "item-knn", "sequential")
    trials = json.loads(Path(run, "decision.json").read_text(encoding="utf-8"))["trials"]
    cost = {t["plan"]: t["cost"] for t in trials}
    prices = PriceSheet.load()
    price: dict[str, dict[str, float]] = {}
    for name in names:
        price[name] = {}
        for phase in PHASES:
            amount = prices.price(Cost.from_dict({k: v for k, v in cost[name][phase].items() if k != "money"}))
            if amount is None:
                sys.exit(f"the price of {name} is unknown")
            price[name][phase] = amount
        daily = sum(times * price[name][phase] for phase, times in PHASES.items())
        print(f"{name}: {prices.currency} {daily * DAYS_A_MONTH:.4f} a month at a million requests and one refit a day")
    a, b = (price[name] for name in names)
    requests, refits = a["per_request"] - b["per_request"], b["per_refresh"] - a["per_refresh"]
    if requests and refits / requests > 0:
        print(f"they cost the same at {refits / requests:,.0f} requests a day, with one refit")
    else:
        print("one of them is cheaper at any traffic")


if __name__ == "__main__":
    main()
