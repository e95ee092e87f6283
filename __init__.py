"""A TEN extension that gives a voice agent a Spatius avatar."""

try:
    from . import addon as addon
except ModuleNotFoundError as error:
    if error.name != "ten_runtime":
        raise
    raise ModuleNotFoundError(
        "spatius_avatar_python is a TEN extension: it is loaded by a TEN app, "
        "which brings ten_runtime. Without one, run bin/demo or bin/test of "
        "its repository.",
        name=error.name,
    ) from None
