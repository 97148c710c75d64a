"""What the database itself holds to: one caller's rows at a time, rows that belong together, a history that stays.

The role ``memory_scoped`` owns nothing and cannot log in; ``memory.db.scoped`` acts as it. Making a role needs the
right CREATEROLE: where the migrating user lacks it, the message says what an administrator runs first.
"""

from django.db import migrations

# Table, and its column that says whose row it is.
SCOPED = {
    "memory_caller": "id",
    "memory_card": "caller_id",
    "memory_conversation": "caller_id",
    "memory_utterance": "caller_id",
    "memory_memory": "caller_id",
    "memory_source": "caller_id",
    "memory_memoryevent": "caller_id",
}
# Column pairs that must name one caller: table, name, columns, table and columns they refer to.
SAME_CALLER = (
    ("memory_utterance", "utterance_in_own_conversation", "conversation_id", "memory_conversation"),
    ("memory_source", "source_of_own_memory", "memory_id", "memory_memory"),
    ("memory_source", "source_in_own_utterance", "utterance_id", "memory_utterance"),
    ("memory_memoryevent", "event_of_own_memory", "memory_id", "memory_memory"),
)

ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'memory_scoped') THEN
        CREATE ROLE memory_scoped NOLOGIN;
    END IF;
EXCEPTION
    -- Another database of the same server is migrated at the same time: roles belong to the server.
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role memory_scoped is missing and this user may not make roles: '
            'let an administrator run "CREATE ROLE memory_scoped NOLOGIN; GRANT memory_scoped TO %", then migrate again',
            current_user;
END $$;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'memory_scoped', 'MEMBER') THEN
        EXECUTE format('GRANT memory_scoped TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'this user may not act as memory_scoped: let an administrator run "GRANT memory_scoped TO %"',
            current_user;
END $$;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO memory_scoped', current_schema()); END $$;
"""

POLICY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
CREATE POLICY one_caller ON {table} TO memory_scoped
    USING ({column} = nullif(current_setting('memory.caller', true), '')::uuid)
    WITH CHECK ({column} = nullif(current_setting('memory.caller', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO memory_scoped;
"""
NO_POLICY = """
REVOKE ALL ON {table} FROM memory_scoped;
DROP POLICY one_caller ON {table};
ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
"""

HISTORY = """
CREATE FUNCTION memory_history_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('memory.erasing', true) = 'on' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the history of a memory is only added to' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER history_stays BEFORE UPDATE OR DELETE ON memory_memoryevent
    FOR EACH ROW EXECUTE FUNCTION memory_history_stays();
"""
NO_HISTORY = """
DROP TRIGGER history_stays ON memory_memoryevent;
DROP FUNCTION memory_history_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("memory", "0002_tables")]

    operations = [
        # Other databases of the server may still use the role: going back leaves it.
        migrations.RunSQL(ROLE, migrations.RunSQL.noop),
        *(
            migrations.RunSQL(POLICY.format(table=table, column=column), NO_POLICY.format(table=table))
            for table, column in SCOPED.items()
        ),
        *(
            migrations.RunSQL(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}, caller_id) "
                f"REFERENCES {target} (id, caller_id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
                f"ALTER TABLE {table} DROP CONSTRAINT {name}",
            )
            for table, name, column, target in SAME_CALLER
        ),
        migrations.RunSQL(HISTORY, NO_HISTORY),
    ]
