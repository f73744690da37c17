"""Rows of values under or behind their names, inside text."""

# ruff: noqa: E501 - tables stand as they are written
from __future__ import annotations

import json
import time

import pytest

from polltape.capture.keys import Key
from polltape.capture.redaction import DROPPED, Redactor
from polltape.capture.scrub import Scrubber

REDACTOR = Redactor(Key.of(b"0123456789abcdef0123456789abcdef"))
SCRUBBER: Scrubber = REDACTOR._scrubber
SECRET = "hunter"
TOKEN = "k3jd8w0qpz7xnv5m1r4t6y2u9abcde01"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("id,password,status\n1,{},open\n2,{},done\n", "id,password,status\n1,D,open\n2,D,done\n"),
        ("id;user_password\r\n1;{}\r\n\r\nend", "id;user_password\r\n1;D\r\n\r\nend"),
        ("status\tPassword\nopen\t{}", "status\tPassword\nopen\tD"),
        ("Export of today\n\"id\",\"password\"\n\"a, b\",\"{}\"", "Export of today\n\"id\",\"password\"\n\"a, b\",\"D\""),
        ("password,id\n,1\n{},2", "password,id\n,1\nD,2"),
        ("a,b\n1,2\n3\nid,password\n1,{}", "a,b\n1,2\n3\nid,password\n1,D"),
        ("INSERT INTO t (id, password) VALUES (1, '{}'), (2, NULL)", "INSERT INTO t (id, password) VALUES (1, 'D'), (2, NULL)"),
        ("insert into t(`id`,`password`)values(1,'a''{}, (x)')", "insert into t(`id`,`password`)values(1,'D')"),
        ("Key (shop, password)=(1, {}) already exists.", "Key (shop, password)=(1, D) already exists."),
        ("Key (city, password)=(Bad Ems, Nord, {}) already exists.", "Key (city, password)=(D) already exists."),
        ("id,password\n1,a,{}\n2,{}", "id,password\nD\n2,D"),
        ('id,status,password\n1,"a\nb",{}\n2,open,{}', 'id,status,password\n1,"a\nb",D\n2,open,D'),
        ('id,password\n1,"{}\n2,{}', 'id,password\n1,"D\n2,D'),
    ],
)  # fmt: skip
def test_values_go_by_the_names_of_their_columns(text: str, made: str) -> None:
    assert SCRUBBER.text(text.replace("{}", SECRET)) == made.replace("D", DROPPED)
    body = json.dumps({"export": text.replace("{}", SECRET)}).encode()
    assert json.loads(SCRUBBER.json.body(body)) == {"export": made.replace("D", DROPPED)}


def test_a_token_has_its_pseudonym() -> None:
    assert SCRUBBER.text(f"id,token\n1,{TOKEN}") == f"id,token\n1,{REDACTOR.pseudonym(TOKEN)}"


@pytest.mark.parametrize(
    "text",
    [
        "id,status,price\n1,open,10.00",
        "id,code,state\n1,NOT_FOUND,open",
        "We need email, password\nand name, too",
        "email,password",
        "email,password\nthree",
        "VALUES (1, 'a'), (2, 'b')",
        "id,number,name\n5,1001,#1001",
        "choose (small, large) = (1, 2)",
    ],
)
def test_what_is_no_table_or_has_no_secret_stays(text: str) -> None:
    assert SCRUBBER.text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "(" * 50_000,
        "('" * 30_000,
        "(a, b) values " * 10_000,
        "a,b\n" * 30_000,
        "id," * 50_000 + "\n1",
        "id,email\n" + '1,"\n' * 30_001,
    ],
)
def test_it_takes_time_in_proportion(text: str) -> None:
    began = time.process_time()
    SCRUBBER.text(text)
    assert time.process_time() - began < 5
