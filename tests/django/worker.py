"""A process like a Celery worker: `python -m tests.django.worker DATABASES CODE` runs a task of the site and ends.

It has Django set up on the site's database, and purges through the store or the admin listener that its environment
names (MIZAN_CACHE_REDIS_URL and MIZAN_CACHE_NAMESPACE, or MIZAN_EDGE_ADMIN_URL and MIZAN_EDGE_ADMIN_TOKEN).
"""

import os
import sys
from pathlib import Path

import django
from django.conf import settings

from tests.django.site.settings import site_settings

if __name__ == "__main__":
    from_environment = {name: value for name, value in os.environ.items() if name.startswith("MIZAN_")}
    settings.configure(**site_settings(Path(sys.argv[1])), **from_environment)
    django.setup()
    from tests.django.site import tasks

    exec(sys.argv[2], vars(tasks))
