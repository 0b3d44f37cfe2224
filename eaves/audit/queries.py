"""SQL statements with which an audit compares the list of sent events with the list of received ones."""

from __future__ import annotations

_COLUMNS = "list, key, source, id, number, at, state, repeats, digest, reason"
_TYPES = (
    "list INTEGER, key INTEGER, source TEXT, id TEXT, number INTEGER, at REAL, state TEXT, repeats INTEGER,"
    " digest TEXT, reason TEXT"
)

TABLE = f"CREATE TABLE {{0}}_lines(place INTEGER PRIMARY KEY, {_TYPES})"
INSERT = f"INSERT INTO {{0}}_lines({_COLUMNS}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
NUMBERS = "SELECT list, count(DISTINCT number), min(number), max(number) FROM sent_lines WHERE number > 0 GROUP BY list"
COMPLETE_FROM = """
SELECT max(at) FROM (
    SELECT at, number - lag(number, 1, 0) OVER (PARTITION BY list ORDER BY number) AS step FROM sent_lines
) WHERE step > 1
"""
"""Query for the time of the first line after the last gap in a list's line numbers."""
SORT = f"""
CREATE TABLE {{0}}(row INTEGER PRIMARY KEY, place INTEGER, {_TYPES});
INSERT INTO {{0}}(place, {_COLUMNS}) SELECT place, {_COLUMNS} FROM {{0}}_lines ORDER BY key, place;
DROP TABLE {{0}}_lines;
CREATE INDEX {{0}}_by_key ON {{0}}(key)
"""  # noqa: S608 - constants
"""Statements that copy a list's lines into a table sorted by key, so that a join of two lists reads both
sequentially."""
_SAME = "b.key = a.key AND b.source = a.source AND b.id = a.id"
TWICE = (
    f"SELECT a.row, min(b.row) FROM {{0}} a JOIN {{0}} b ON {_SAME} AND b.row < a.row"  # noqa: S608 - constants
    " WHERE a.key IN (SELECT key FROM {0} GROUP BY key HAVING count(*) > 1) GROUP BY a.row"
)
BETTER = """
UPDATE {0} SET state = b.state, reason = b.reason FROM {0} b
    WHERE {0}.row = ? AND b.row = ? AND {0}.state IN ('dead', 'removed', 'lost') AND b.state IN ('queued', 'released')
"""
"""Statement for an event with several lines in a list: it counts as delivered when one of the lines says so."""
_DIFFERS = "(b.digest <> '' AND a.digest <> '' AND b.digest <> a.digest)"
JUDGE = f"""
CREATE TABLE judged AS SELECT a.row AS row,
    CASE WHEN b.state IN ('dead', 'removed') AND NOT {_DIFFERS} THEN 'undelivered'
         WHEN b.state <> 'lost' AND NOT {_DIFFERS} THEN 'received'
         WHEN a.state = 'queued' THEN 'waiting' WHEN a.state IN ('dead', 'removed') THEN a.state
         WHEN b.row IS NULL AND a.state = 'released' AND a.at > 0 AND a.at < ?1 THEN 'forgotten' ELSE 'missing' END
         AS verdict,
    CASE WHEN b.row IS NULL THEN '' WHEN {_DIFFERS} THEN 'other' ELSE b.state END AS there, b.reason AS why,
    coalesce(b.repeats, 0) AS repeats,
    CASE WHEN a.at > 0 AND b.at > 0 THEN b.at - a.at END AS took_s
    FROM sent a LEFT JOIN received b ON {_SAME}
"""  # noqa: S608 - constants
COUNTS = """
SELECT count(*), total(verdict = 'received'), total(verdict = 'waiting'), total(verdict = 'dead'),
    total(verdict = 'removed'), total(verdict = 'undelivered'), total(verdict = 'forgotten'),
    total(verdict = 'missing'), total(repeats * (verdict = 'received')),
    total(verdict = 'received' AND took_s > ?)
    FROM judged
"""
UNMATCHED = f"""
CREATE TABLE unmatched AS SELECT a.row AS row, CASE
    WHEN EXISTS (SELECT 1 FROM newer b WHERE {_SAME}) OR a.at > ?1 THEN 'newer'
    WHEN a.at < ?2 THEN 'older' ELSE 'unknown' END AS verdict
    FROM received a LEFT JOIN sent b ON {_SAME} WHERE b.row IS NULL
"""  # noqa: S608 - constants
KEPT_FROM = "SELECT CASE WHEN min(number) > 1 THEN min(at) FILTER (WHERE at > 0) END FROM received"
"""Query for the time of the first event whose line the receiver still has; NULL when its list begins with line 1,
because then no line was deleted."""
TOO_MANY = """
UPDATE unmatched SET verdict = 'unknown' WHERE row IN (
    SELECT u.row FROM unmatched u JOIN received r ON r.row = u.row WHERE u.verdict = 'older'
    ORDER BY r.at, r.place LIMIT -1 OFFSET ?
)
"""
"""Statement that marks received events as unknown when more of them are older than the sender's first line than the
sender has deleted lines."""
