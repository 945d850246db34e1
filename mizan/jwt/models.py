"""The refresh tokens that are known: one that is in no row is worth nothing."""

import datetime as dt
import uuid
from typing import Any

from django.conf import settings
from django.db import models


class RefreshToken(models.Model):
    """One refresh token. All that have come from one sign-in are a family, and end together."""

    id: "models.UUIDField[uuid.UUID, uuid.UUID]" = models.UUIDField(
        primary_key=True, default=uuid.uuid4, editable=False
    )
    family: "models.UUIDField[uuid.UUID, uuid.UUID]" = models.UUIDField(db_index=True)
    user: "models.ForeignKey[Any, Any]" = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    expires: "models.DateTimeField[dt.datetime, dt.datetime]" = models.DateTimeField(db_index=True)
    used: "models.BooleanField[bool, bool]" = models.BooleanField(default=False)
