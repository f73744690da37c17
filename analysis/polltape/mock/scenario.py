"""Scenario files: small TOML texts that users copy and change.  What is wrong in one is told with its line.

A scenario names its protocol; the protocol decides which tables the file may have, and its module what they do.
The built-in ones lie in ``scenarios/`` and are found by name.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Final

from polltape.errors import ConfigError, InputError, PolltapeError, UsageError
from polltape.mock.async_api import AsyncScenario
from polltape.mock.cart_shop import CartScenario
from polltape.mock.checkout_tables import CheckoutScenario
from polltape.mock.par_pos import ParScenario
from polltape.mock.queue_shop import QueueScenario
from polltape.mock.scenario_tables import Drawn, Scenario, with_estimates
from polltape.mock.throttled_api import ThrottledScenario
from polltape.toml_file import Lines, convert, parse

_BY_PROTOCOL: Final[dict[str, type[Scenario]]] = {
    "shopify-checkout": CheckoutScenario,
    "shopify-queue": QueueScenario,
    "shopify-cart": CartScenario,
    "par-posnext": ParScenario,
    "http-async": AsyncScenario,
    "throttle": ThrottledScenario,
}
"""Every protocol that a scenario can have, and its tables."""


def scenario_names() -> list[str]:
    """The names of the built-in scenarios."""
    folder = files("polltape.mock") / "scenarios"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def scenario_text(name: str) -> str:
    """The text of a built-in scenario.  Raises UsageError for a name that is none."""
    if name not in scenario_names():
        near = get_close_matches(name, scenario_names(), 1, 0.4)
        meant = f"did you mean {near[0]!r}? " if near else ""
        known = ", ".join(scenario_names())
        raise UsageError(f"no scenario named {name!r}", hint=f"{meant}built in: {known}; or name a .toml file")
    return (files("polltape.mock") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")


def load_scenario(name: str | Path) -> Scenario:
    """A built-in scenario by its name, or a file (what ends in ``.toml``, or has a slash).

    Raises UsageError for an unknown name, InputError for a file that cannot be read, and ConfigError, naming
    the line, for one that is no scenario.
    """
    text = str(name)
    if not text.endswith(".toml") and "/" not in text and not Path(text).is_file():
        return parse_scenario(scenario_text(text), text)
    try:
        return parse_scenario(Path(name).read_text(encoding="utf-8"), text, Path(name).parent)
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: is no UTF-8 text", hint="a scenario is a TOML file") from None
    except OSError as problem:
        reason = (problem.strerror or "cannot be read").lower()
        known = ", ".join(scenario_names())
        raise InputError(f"{name}: {reason}", hint=f"name a .toml file, or a built-in scenario: {known}") from None


def parse_scenario(text: str, source: str, folder: Path | None = None) -> Scenario:
    """The scenario that a TOML text holds; the captures that it names lie relative to ``folder``.

    Raises ConfigError with ``source`` and the line.
    """
    values = parse(text, source, "a scenario")
    protocol = values.get("protocol")
    if not isinstance(protocol, str) or protocol not in _BY_PROTOCOL:
        said = "has no protocol" if protocol is None else f"unknown protocol {protocol!r}"
        known = ", ".join(f'"{name}"' for name in _BY_PROTOCOL)
        raise Lines(text).error(source, ("protocol",), said, f"protocol = one of {known}")
    schema = _BY_PROTOCOL[protocol]
    hint = f"the built-in scenario explains each key: polltape mock --print-scenario {schema.built_in}"
    scenario = convert(values, schema, text, source, hint=hint, words=_WORDS)

    def estimate(drawn: Drawn, at: tuple[str, ...]) -> Drawn:
        from polltape.mock.estimates import estimated

        try:
            return estimated(drawn, folder or Path())
        except PolltapeError as problem:
            what_to_do = problem.hint or "name a capture folder or file"
            raise Lines(text).error(source, at, str(problem), what_to_do) from None

    return with_estimates(scenario, estimate)


_WORDS: Final = {
    re.compile(r"Expected str matching regex '\^\[0-9\]\{1,12\}.*"): 'expected an amount such as "9.99", in quotes',
    re.compile(r"Expected str matching regex '\^\(Z\|.*"): 'expected an offset such as "-04:00", or "Z"',
}
