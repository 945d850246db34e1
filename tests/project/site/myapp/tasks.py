from django.contrib.auth.models import User

from mizan.cache import purge


def rename(user_id: int, name: str) -> None:
    User.objects.filter(pk=user_id).update(first_name=name)
    purge("user", user_id=user_id)


def promote(user_id: int) -> None:
    User.objects.filter(pk=user_id).update(is_staff=True, is_superuser=True)
