from django.db import models


class Note(models.Model):
    """What the site's functions read and write."""

    owner: "models.IntegerField[int, int]" = models.IntegerField()
    text: "models.CharField[str, str]" = models.CharField(max_length=100)
