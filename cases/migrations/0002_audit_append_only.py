"""The database itself refuses to change or remove audit events and trails, or to change a result.

A hand-written trigger rather than pgtrigger's: that one can be switched off by a session variable
(docs/adr/0002). In production the application's role should not own these tables either.
"""

from django.db import migrations

TABLES = ("cases_auditevent", "cases_jobevent", "cases_modelevent")

FORWARD = """
CREATE FUNCTION bcweb_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege';
END
$$;
""" + "".join(
    f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
-- Also where session_replication_role = replica switches ordinary triggers off.
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_truncate;
"""
    for table in TABLES
) + """
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_result
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_result ENABLE ALWAYS TRIGGER unchangeable;
"""

BACKWARD = "DROP TRIGGER unchangeable ON cases_result;" + "".join(
    f"DROP TRIGGER append_only_truncate ON {table}; DROP TRIGGER append_only ON {table};"
    for table in TABLES
) + "DROP FUNCTION bcweb_append_only();"


class Migration(migrations.Migration):
    dependencies = [("cases", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
