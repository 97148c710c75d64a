"""The audit trail is added to only, and the database holds to it; the six roles."""

from django.db import migrations

from voiceagent.console.roles import install

GUARD = """
CREATE FUNCTION console_audit_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the audit trail are neither changed nor removed';
END $$;
CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE ON console_auditentry
    FOR EACH ROW EXECUTE FUNCTION console_audit_stays();
"""
UNGUARD = """
DROP TRIGGER audit_stays ON console_auditentry;
DROP FUNCTION console_audit_stays();
"""


def roles(apps: object, _editor: object) -> None:
    install(apps)


class Migration(migrations.Migration):
    dependencies = [
        ("console", "0001_tables"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.RunPython(roles, migrations.RunPython.noop),
    ]
