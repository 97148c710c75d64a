"""Vectors, and equality in exclusion constraints."""

from django.contrib.postgres.operations import BtreeGistExtension
from django.db import migrations
from pgvector.django import VectorExtension


class Migration(migrations.Migration):
    initial = True

    operations = [VectorExtension(), BtreeGistExtension()]
