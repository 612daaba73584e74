"""The squashed migration against the ones that it stands for: the same database by both ways.

Each way gets an empty database of its own, on the server of the tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

SQUASHED = ("cases", "0001_squashed_0025_api")
IN_PLACE_OF = MigrationLoader(None).replacements[SQUASHED].replaces

# What there is in the schema, by kind: name and all that is known of it, but not where among the
# columns of its table a column is.
CATALOGUE = {
    "relations": """
        SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, toast.reloptions,
          c.relacl::text, c.relowner::regrole::text, am.amname, c.relrowsecurity,
          c.relforcerowsecurity, c.relreplident, c.reltablespace, c.relispartition
        FROM pg_class c LEFT JOIN pg_class toast ON toast.oid = c.reltoastrelid
        LEFT JOIN pg_am am ON am.oid = c.relam
        WHERE c.relnamespace = 'public'::regnamespace""",
    "columns": """
        SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod),
          a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
          a.attcollation::regcollation::text, a.attstorage, a.attcompression, a.attstattarget,
          a.attoptions, a.attacl::text,
          pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
          AND a.attnum > 0 AND NOT a.attisdropped""",
    "indexes": """
        SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisprimary,
          i.indisunique, i.indimmediate, i.indisvalid, i.indisready, i.indisclustered,
          i.indisreplident
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        WHERE c.relnamespace = 'public'::regnamespace""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, pg_get_constraintdef(oid),
          condeferrable, condeferred, convalidated, connoinherit
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "triggers": """
        SELECT t.tgrelid::regclass::text, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled
        FROM pg_trigger t WHERE NOT t.tgisinternal""",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid), proowner::regrole::text,
          proacl::text
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prokind <> 'a'""",
    "sequences": """
        SELECT s.seqrelid::regclass::text, s.seqtypid::regtype::text, s.seqstart, s.seqincrement,
          s.seqmax, s.seqmin, s.seqcache, s.seqcycle
        FROM pg_sequence s""",
    "types": """
        SELECT t.typname, t.typtype, format_type(t.typbasetype, t.typtypmod), t.typdefault,
          (SELECT array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
        FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "rules": "SELECT tablename, rulename, definition FROM pg_rules WHERE schemaname = 'public'",
    "policies": "SELECT p.*::text FROM pg_policies p",
    "statistics": """
        SELECT stxname, pg_get_statisticsobjdef(oid), stxstattarget FROM pg_statistic_ext""",
    "extensions": "SELECT extname, extversion FROM pg_extension",
    "schemas": "SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'",
    "default privileges": "SELECT defaclobjtype, defaclacl::text FROM pg_default_acl",
    "event triggers": "SELECT evtname, evtevent, evtenabled FROM pg_event_trigger",
    "comments": """
        SELECT pg_describe_object(classoid, objoid, objsubid), description FROM pg_description
        WHERE objoid >= 16384""",
    "migrations": "SELECT app, name FROM django_migrations",
}


@contextmanager
def empty_database(suffix: str) -> Iterator[None]:
    """The default connection is to a new database meanwhile."""
    here = connection.settings_dict["NAME"]
    name = f"{here}_{suffix}"
    quoted = connection.ops.quote_name(name)
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {quoted}")
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = here
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quoted} WITH (FORCE)")


def asked(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return sorted(json.dumps(row, default=str) for row in cursor.fetchall())


def schema() -> dict[str, list[str]]:
    return {kind: asked(sql) for kind, sql in CATALOGUE.items()}


def rows() -> dict[str, list[str]]:
    """Of each table that has any, without numbers and times, which differ from run to run."""
    with connection.cursor() as cursor:
        cursor.execute("""
            SELECT attrelid::regclass::text, string_agg(quote_ident(attname) || '::text', ', '
              ORDER BY attname)
            FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND attnum > 0
              AND NOT attisdropped AND attname !~ '(^|_)id$' AND atttypid <> 'timestamptz'::regtype
            GROUP BY 1""")
        columns = dict(cursor.fetchall())
    found = {table: asked(f"SELECT {told} FROM {table}") for table, told in columns.items()}
    return {table: told for table, told in found.items() if told}


def differences(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, object]:
    """A few lines per kind: a whole schema is too long to be read."""
    return {
        kind: (sorted(set(one[kind]) - set(other[kind])), sorted(set(other[kind]) - set(one[kind])))
        for kind in one
        if one[kind] != other[kind]
    }


def migrate(*target: str) -> None:
    call_command("migrate", *target, interactive=False, verbosity=0)


def is_recorded() -> bool:
    return json.dumps(SQUASHED) in asked(CATALOGUE["migrations"])


def left_to_do() -> list[tuple[str, str]]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [(migration.app_label, migration.name) for migration, _ in plan]


def migrate_singly(name: str) -> None:
    """By the old migrations: what an installation of their time has done."""
    executor = MigrationExecutor(connection)
    executor.loader.replace_migrations = False
    executor.loader.build_graph()
    executor.migrate([("cases", name)])


@pytest.fixture
def reachable(django_db_blocker: object) -> Iterator[None]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield


def test_both_ways_make_the_same_database(reachable: None) -> None:
    with empty_database("singly"):
        migrate_singly("0012_keys")
        # Begun with the old ones, it goes on with them.
        assert SQUASHED not in left_to_do()
        assert not is_recorded()
        migrate()
        assert is_recorded()
        # As the version before left it, which did not know the squashed one.
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE name = %s", [SQUASHED[1]])
        assert left_to_do() == []
        migrate()
        assert is_recorded()
        singly, singly_rows = schema(), rows()

    with empty_database("squashed"):
        assert [key for key in left_to_do() if key in IN_PLACE_OF or key == SQUASHED] == [SQUASHED]
        migrate()
        assert left_to_do() == []
        assert differences(singly, schema()) == {}
        assert singly_rows == rows()
        # What is there is seen.
        assert len(singly["triggers"]) > 50
        assert any("bcweb_is_erased" in told for told in singly["functions"])
        assert "auth_permission" in singly_rows
        # It is taken back by the old ones, and done again by them.
        migrate("cases", "0023")
        assert "cases_worklistentry" not in connection.introspection.table_names()
        migrate()
        assert differences(singly, schema()) == {}
