from django.core.asgi import get_asgi_application

from mizan import wrap_asgi

application = wrap_asgi(get_asgi_application())
