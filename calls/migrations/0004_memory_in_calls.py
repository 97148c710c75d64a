from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("calls", "0003_spoken_words")]

    operations = [
        migrations.AddField(
            model_name="agent",
            name="returning_greeting",
            field=models.TextField(
                blank=True,
                db_default="",
                help_text="Said instead where the caller's name is on file in time; {name} stands for it. Empty: as everybody.",
                verbose_name="greeting of callers it knows",
            ),
        ),
        migrations.AddField(
            model_name="turn",
            name="recalled",
            field=models.JSONField(
                blank=True,
                db_default=models.Value({}, models.JSONField()),
                default=dict,
                verbose_name="what was recalled",
            ),
        ),
    ]
