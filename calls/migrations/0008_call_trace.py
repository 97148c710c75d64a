from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("calls", "0007_phrases_and_overflow"),
    ]

    operations = [
        migrations.AddField(
            model_name="call",
            name="trace_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=32, verbose_name="trace"),
        ),
        migrations.AddField(
            model_name="call",
            name="trace_kept",
            field=models.BooleanField(db_default=False, default=False, verbose_name="trace exported"),
        ),
    ]
