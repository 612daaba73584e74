"""Rights on tables that are only added to, where another role than their owner works on them."""

from __future__ import annotations

from django.db import connection, transaction

# Tables of which a trigger refuses every change of that kind, whatever the row: bcweb_append_only
# without a condition. Those that an erasure may empty (bcweb_only_erased) keep the right to it.
_GRANTED = """
    SELECT c.oid::regclass::text, format('%I', r.rolname), array_agg(DISTINCT a.privilege_type)
    FROM pg_class c
    JOIN pg_trigger t ON t.tgrelid = c.oid
    JOIN pg_proc p ON p.oid = t.tgfoid
    CROSS JOIN LATERAL aclexplode(c.relacl) a
    JOIN pg_roles r ON r.oid = a.grantee
    JOIN pg_roles o ON o.oid = c.relowner AND o.rolname = current_user
    WHERE c.relnamespace = 'public'::regnamespace
      AND a.grantee <> c.relowner
      AND p.proname = 'bcweb_append_only' AND t.tgqual IS NULL AND t.tgattr = ''::int2vector
      AND ((a.privilege_type = 'UPDATE' AND t.tgtype & 16 <> 0)
        OR (a.privilege_type = 'DELETE' AND t.tgtype & 8 <> 0)
        OR (a.privilege_type = 'TRUNCATE' AND t.tgtype & 32 <> 0))
    GROUP BY c.oid, r.rolname ORDER BY 1, 2
"""


@transaction.atomic
def append_only_rights_withdraw() -> dict[str, list[str]]:
    """Take from every other role what the triggers of append-only tables refuse anyway.

    Before: roles other than the owner may have UPDATE, DELETE or TRUNCATE on such tables, by the
    owner's default privileges. After: they have not. Returns the tables and the roles that lost
    something; nothing where this role owns no such table, as the application's in production.
    Rights to a table are no facts about patients: the audit trail is not told.
    """
    changed: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_GRANTED)
        for table, role, rights in cursor.fetchall():
            # Names as the catalogue quotes them, kinds of rights from the list above.
            cursor.execute(f"REVOKE {', '.join(rights)} ON {table} FROM {role}")
            changed.setdefault(table, []).append(role)
    return changed
