import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("memory", "0003_guards"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="conversation", name="conversation_open"),
        migrations.AddField(
            model_name="conversation",
            name="due_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                condition=models.Q(("card_at__isnull", True)), fields=["due_at"], name="conversation_due"
            ),
        ),
    ]
