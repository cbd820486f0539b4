"""What people type into a field who want to see the rest of the database."""

from __future__ import annotations

INJECTIONS = (
    "x' UNION SELECT 1,'admin','pw','a','b' -- ",
    "' OR '1'='1",
    "' OR 1=1 -- ",
    'x" OR ""="',
    "'; DROP TABLE users; --",
    "'; UPDATE users SET questions_left = 1000000; --",
    "%' OR name LIKE '%",
    "\\'; SELECT pg_sleep(10); --",
    "{{7*7}} ${7*7} %s %(name)s :name ?",
    "%00",
    "admin'/*",
)
