"""``polltape analyze``."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from polltape.cli.inputs import par_key_option, protocol_option
from polltape.errors import UsageError
from polltape.report import FORMATS, TABLES, render

if TYPE_CHECKING:
    from polltape.cli.settings import SettingsFile
    from polltape.measures.analysis import Analysis, Selection, Settings

Words = tuple[str, ...]
LONGEST_TOLERANCE_S: Final = 1e9
WITH_TABLES: Final = ("csv", "json-lines")
"""The forms that hold one table."""
MEMORY_POOL: Final = ("ARROW_DEFAULT_MEMORY_POOL", "system")
"""What Arrow looks at when it is loaded: its own pool keeps a third of a large capture's memory for later."""


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="What to print.")
@click.option("-o", "--output", metavar="FILE", help="Write there instead of to standard output.")
@click.option(
    "--table",
    type=click.Choice(TABLES),
    metavar="NAME",
    help=f"Which one as csv [operations] or json-lines [findings]: {', '.join(TABLES)}.",
)
@click.option("--max-size", type=click.IntRange(min=100_000), metavar="BYTES", help="Of the HTML [default: 1500000].")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), default="duckdb", show_default=True)
@click.option("--select", multiple=True, metavar="CODES", help="Only these findings: codes, prefixes, ALL.")
@click.option("--extend-select", multiple=True, metavar="CODES", help="These besides the selected ones.")
@click.option("--ignore", multiple=True, metavar="CODES", help="Not these; the longest name that fits a code decides.")
@click.option("--fail-on", multiple=True, metavar="CODES", help="Exit 1 when one of these findings is there.")
@click.option("--exit-zero", is_flag=True, help="Exit 0 even then.")
@click.option("--statistics", is_flag=True, help="Only how many findings there are of each code.")
@click.option("--config", metavar="FILE", help="Settings and suppressions [default: polltape.toml where it is].")
@click.option("--isolated", is_flag=True, help="Read no polltape.toml.")
@click.option("--since", metavar="INSTANT", help="Only requests from then on (ISO 8601, UTC without a zone).")
@click.option("--until", metavar="INSTANT", help="Only requests before then.")
@click.option("--host", metavar="HOST", help="Only this host.")
@click.option("--endpoint", metavar="TEXT", help="Only operations with an endpoint that contains this.")
@click.option("--token", metavar="VALUE", help="Only operations of this token, as you know it or as pseudonym.")
@click.option("--tolerance", type=float, metavar="S", help="How early is in time [default: 0.01].")
@click.option("--date-tolerance", type=float, metavar="S", help="The same for dates [default: 1].")
@protocol_option
@par_key_option
@click.option("--stuck-after", multiple=True, metavar="[PROTOCOL=]S", help="When an operation is stuck (OP001).")
def analyze(
    paths: tuple[str, ...],
    form: str,
    output: str | None,
    table: str | None,
    max_size: int | None,
    engine: str,
    select: tuple[str, ...],
    extend_select: tuple[str, ...],
    ignore: tuple[str, ...],
    fail_on: tuple[str, ...],
    exit_zero: bool,
    statistics: bool,
    config: str | None,
    isolated: bool,
    since: str | None,
    until: str | None,
    host: str | None,
    endpoint: str | None,
    token: str | None,
    tolerance: float | None,
    date_tolerance: float | None,
    par_key: str | None,
    stuck_after: tuple[str, ...],
) -> int:
    """How long 202s last, who kept to Retry-After, and what went wrong.

    PATH is a capture folder (default: captures), a .parquet, .har, .mitm or .flow file, or one of these in an
    object store (s3://, gs://, abfs://); several are one capture.

    \b
    polltape analyze captures
    polltape analyze shop.har --format json
    polltape analyze captures --fail-on RA001,OP001 --since 2026-11-23T08:00
    polltape analyze captures --statistics --select RA,OP003
    """
    from polltape.cli.inputs import capture_of, check_captures, write

    if engine == "spark":
        raise UsageError("--engine spark is not there yet; leave the option out to use DuckDB")
    check_captures(paths)
    os.environ.setdefault(*MEMORY_POOL)
    from polltape.cli.settings import settings_in_force

    file = settings_in_force(config, isolated)
    codes = _codes(file, select, extend_select, ignore, fail_on)
    if table is not None and (form not in WITH_TABLES or statistics):
        raise UsageError(f"--table {table} is for --format {' and '.join(WITH_TABLES)}, without --statistics")
    selection = _selection(since, until, host, endpoint, token)
    settings = _settings(tolerance, date_tolerance, stuck_after)
    from polltape.measures.analysis import Selection, analyse

    analysis = _shown(
        analyse(capture_of(paths, par_key), selection=selection, settings=settings, steps=form == "html"),
        file,
        codes.shown,
    )
    if selection == Selection():
        _say_unused(analysis)
    elif not analysis.exchanges:
        told = "--since, --until, --host, --endpoint and --token leave no exchange of the capture"
        click.echo(f"warning: {told}: nothing was measured", err=True)
    if statistics:
        from polltape.report.as_statistics import render as counts

        write(counts(analysis, form), output)
    else:
        to_terminal = output is None
        write(
            render(analysis, form, to_terminal=to_terminal, max_size=max_size, table=table, settings=file.path), output
        )
    failing = bool(analysis.findings["code"].isin(sorted(codes.failing)).any())
    return int(failing and not exit_zero)


class _Codes(NamedTuple):
    """The codes of the findings that are shown, and of those that make the exit status 1."""

    shown: frozenset[str]
    failing: frozenset[str]


def _codes(file: SettingsFile, select: Words, extend_select: Words, ignore: Words, fail_on: Words) -> _Codes:
    """What options and settings file choose: ``--select`` puts aside the file's lists, the others add to them."""
    from polltape.measures.codes import codes_named, selected

    base = select or file.select or ("ALL",)
    shown = selected((*base, *extend_select), (*(() if select else file.ignore), *ignore))
    failing = codes_named(fail_on or file.fail_on)
    if fail_on and failing.isdisjoint(shown):
        raise UsageError(
            f"--fail-on {','.join(fail_on)} can never fail: --select and --ignore leave those findings out",
            hint="select them as well",
        )
    return _Codes(shown, failing & shown)


def _shown(analysis: Analysis, file: SettingsFile, codes: frozenset[str]) -> Analysis:
    """The analysis with only the findings of these codes that no suppression hides."""
    from polltape.measures.suppressions import suppress

    left, hidden = suppress(analysis.findings, file.suppressions)
    left = left[left["code"].isin(sorted(codes))].reset_index(drop=True)
    return replace(analysis, findings=left, suppressed=tuple(hidden))


def _say_unused(analysis: Analysis) -> None:
    """A warning for each suppression that hides nothing any more."""
    for suppression, count in analysis.suppressed:
        if not count:
            told = f"nothing to suppress any more ({suppression.told()}); delete it"
            click.echo(f"warning: {suppression.where}: {told}", err=True)


def _selection(
    since: str | None, until: str | None, host: str | None, endpoint: str | None, token: str | None
) -> Selection:
    from polltape.measures.analysis import Selection

    first, end = _instant(since, "--since"), _instant(until, "--until")
    if first is not None and end is not None and first >= end:
        raise UsageError(f"--until {until} does not lie after --since {since}; nothing could be left")
    return Selection(
        since=first,
        until=end,
        host=host,
        endpoint=endpoint,
        tokens=() if token is None else _tokens(token),
    )


def _tokens(token: str) -> tuple[str, ...]:
    """The token as given, which may be a pseudonym already, and the pseudonym of it."""
    from polltape.capture.redaction import Redactor

    return token, Redactor.of_user().pseudonym(token)


def _instant(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text!r} is no instant; write it like 2026-11-23T08:00:00Z") from None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant


def _settings(tolerance: float | None, date_tolerance: float | None, stuck_after: tuple[str, ...]) -> Settings:
    from polltape.measures.analysis import Settings
    from polltape.operations.waits import Tolerance

    for option, seconds in (("--tolerance", tolerance), ("--date-tolerance", date_tolerance)):
        if seconds is not None and not 0 <= seconds <= LONGEST_TOLERANCE_S:  # not a number fits no range, too
            raise UsageError(f"{option} {seconds}: seconds, from 0 to {LONGEST_TOLERANCE_S:.0f}")
    usual = Tolerance()
    return Settings(
        tolerance=Tolerance(
            delay_s=usual.delay_s if tolerance is None else tolerance,
            date_s=usual.date_s if date_tolerance is None else date_tolerance,
        ),
        stuck_after_s=dict(pair for text in stuck_after for pair in _thresholds(text)),
    )


def _thresholds(text: str) -> list[tuple[str, float]]:
    """``30`` for every protocol, ``shopify-checkout=30`` for one."""
    from polltape.cli import did_you_mean
    from polltape.protocols import known

    names = [protocol.name for protocol in known()]
    name, equals, number = text.rpartition("=")
    if equals and name not in names:
        raise UsageError(f"--stuck-after: no protocol {name!r}{did_you_mean(name, names)}")
    try:
        seconds = float(number)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UsageError(f"--stuck-after {text!r}: seconds, or PROTOCOL=seconds, at least 0")
    return [(protocol, seconds) for protocol in ([name] if equals else names)]
