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
    """A model whose changes purge; see Portfolio."""

    owner: "models.ForeignKey[User, User]" = models.ForeignKey(User, models.CASCADE)
    title: "models.CharField[str, str]" = models.CharField(max_length=100)
    labels: "models.ManyToManyField[Label, Label]" = models.ManyToManyField(Label)
    cover: "models.ForeignKey[Label | None, Label | None]" = models.ForeignKey(
        Label, models.SET_NULL, null=True, related_name="+"
    )


class Portfolio(Album):
    """The same rows; it is this that stands in MIZAN_MODEL_CONTEXTS."""

    class Meta:
        proxy = True


class LiveAlbum(Album):
    """Inherits its model's contexts."""
