# MuJoCo's wheels carry compiled modules without types: for the type checker everything in it is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
