"""What every part of the settings has in common: its own keys, and values of the kind it asks for."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, field_validator

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)


class Section(BaseModel):
    """A part of the settings; a key it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _number_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes ``true`` for 1 and ``4.0`` for 4; a person meant something else."""
        field = cls.model_fields[info.field_name or ""]
        kinds = _kinds(field.annotation)
        if not kinds & {int, float} or bool in kinds:
            return value
        if isinstance(value, bool) or (isinstance(value, float) and float not in kinds):
            raise ValueError("a number")
        written = not any(isinstance(each, BeforeValidator) for each in field.metadata)
        if isinstance(value, str) and written:
            value = value.strip()
            if not (_NUMBER if float in kinds else _WHOLE).fullmatch(value):
                raise ValueError("a number")
        return value


def _kinds(annotation: Any) -> set[Any]:
    if get_origin(annotation) in {Union, UnionType}:
        return set(get_args(annotation))
    return {annotation}
