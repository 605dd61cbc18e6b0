# Written by the sandbox: what a deployer of Horizon puts there, with Atoll as the Keystone.
from horizon.utils import secret_key

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
SECRET_KEY = secret_key.generate_or_read_from_file("@DIRECTORY@/secret_key")
OPENSTACK_KEYSTONE_URL = "@KEYSTONE_URL@"
OPENSTACK_CINDER_FEATURES = {"enable_backup": True}
TIME_ZONE = "UTC"
STATIC_ROOT = "@STATIC@"
COMPRESS_OFFLINE = True
# one process, so its own memory will do
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
