from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("memory", "0005_labels"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="access",
            options={
                "default_permissions": ("view",),
                "ordering": ["-at", "-id"],
                "verbose_name": "access",
                "verbose_name_plural": "accesses",
            },
        ),
        migrations.AlterModelOptions(
            name="apitoken",
            options={
                "default_permissions": ("view", "add", "change"),
                "ordering": ["name"],
                "verbose_name": "API token",
            },
        ),
        migrations.AlterModelOptions(
            name="caller",
            options={
                "default_permissions": ("view",),
                "ordering": ["-last_seen_at", "-id"],
                "permissions": [
                    ("read_caller", "Can read what callers said and what is remembered"),
                    ("see_number", "Can see callers' whole numbers"),
                    ("correct_caller", "Can enter, correct and retract facts"),
                    ("erase_caller", "Can forget facts and conversations, and erase callers"),
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="card",
            options={"default_permissions": ()},
        ),
        migrations.AlterModelOptions(
            name="conversation",
            options={"default_permissions": (), "ordering": ["-began_at", "-id"]},
        ),
        migrations.AlterModelOptions(
            name="erasurerequest",
            options={
                "default_permissions": ("view",),
                "ordering": ["-asked_at", "-id"],
                "verbose_name": "receipt of an erasure",
                "verbose_name_plural": "receipts of erasures",
            },
        ),
        migrations.AlterModelOptions(
            name="memory",
            options={"default_permissions": (), "ordering": ["caller", "slot", "-valid_from"], "verbose_name": "fact"},
        ),
        migrations.AlterModelOptions(
            name="memoryevent",
            options={"default_permissions": (), "ordering": ["at", "id"]},
        ),
        migrations.AlterModelOptions(
            name="source",
            options={"default_permissions": (), "ordering": ["created_at", "id"]},
        ),
        migrations.AlterModelOptions(
            name="tombstone",
            options={"default_permissions": ("view",), "ordering": ["-at", "-id"]},
        ),
        migrations.AlterModelOptions(
            name="utterance",
            options={"default_permissions": (), "ordering": ["conversation", "seq"]},
        ),
    ]
