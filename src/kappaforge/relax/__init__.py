"""Bring cell and positions to the nearest minimum of a potential."""

from kappaforge.callable_package import make_callable

make_callable(__name__)
