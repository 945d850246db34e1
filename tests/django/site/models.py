from django.contrib.auth.models import User
from django.db import models


class Note(models.Model):
    """What the site's functions read and write."""

    owner: "models.IntegerField[int, int]" = models.IntegerField()
    text: "models.CharField[str, str]" = models.CharField(max_length=100)


class Label(models.Model):
    """Stands on albums."""

    text: "models.CharField[str, str]" = models.CharField(max_length=100)


class Album(models.Model):
    """A model whose changes purge; see MIZAN_MODEL_CONTEXTS."""

    owner: "models.ForeignKey[User, User]" = models.ForeignKey(User, models.CASCADE)
    title: "models.CharField[str, str]" = models.CharField(max_length=100)
    labels: "models.ManyToManyField[Label, Label]" = models.ManyToManyField(Label)


class LiveAlbum(Album):
    """Inherits its model's contexts."""
