from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0004_memory_in_calls"),
    ]

    operations = [
        migrations.AddField(
            model_name="call",
            name="remember_due_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(
                condition=models.Q(("remember_due_at__isnull", False)),
                fields=["remember_due_at"],
                name="call_to_remember",
            ),
        ),
    ]
